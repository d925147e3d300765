"""`backlight scan-shard` and `backlight merge`: any number of processes, in any order, and the atlas of one `build`."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import rows
from cli.running import BUILD, check_refused, run

PLAN = (*BUILD, "--maps", "3", "--top", "2", "--batch-size", "4", "--shard-images", "4")


@pytest.mark.usefixtures("workplace")
def test_parts_in_any_order_make_the_atlas_of_one_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*PLAN) == 0
    Path("a.atlas").rename("whole.atlas")
    assert run(*PLAN, "--plan", "p.json") == 0
    capsys.readouterr()
    for part, said in (
        ("3/3", "part 3 of 3: 4 images scanned, 0 there already, in a.atlas.ledger"),
        ("1/3", "part 1 of 3: 4 images scanned, 0 there already, in a.atlas.ledger"),
        ("1/3", "part 1 of 3: 0 images scanned, 4 there already, in a.atlas.ledger"),
    ):
        assert run("scan-shard", "p.json", part) == 0
        assert said in capsys.readouterr().out
    check_refused(
        capsys,
        ("merge", "p.json"),
        "4 images of 12 are not scanned yet, the first of them number 4; run the parts that are missing, or "
        "`backlight scan-shard p.json 1/1`, which scans what is left",
    )
    assert not Path("a.atlas").exists()
    assert run("scan-shard", "p.json", "1/1") == 0
    assert "4 images scanned, 8 there already" in capsys.readouterr().out
    assert run("merge", "p.json") == 0
    assert rows(Path("a.atlas")) == rows(Path("whole.atlas"))
    assert not Path("a.atlas.ledger").exists()
    assert run("merge", "p.json") == 0  # it is done: nothing is asked of the ledger


@pytest.mark.usefixtures("workplace")
def test_a_ledger_that_is_kept_serves_a_build_with_other_rules(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = ("--ledger", "memory://kept")
    assert run(*PLAN, "--plan", "p.json") == 0
    assert run("scan-shard", "p.json", "1/1", *ledger) == 0
    assert run("merge", "p.json", *ledger, "--keep-ledger") == 0
    other = tuple("b.atlas" if word == "a.atlas" else word for word in PLAN)
    assert run(*other, "--rules", "guided", "--plan", "q.json") == 0
    capsys.readouterr()
    assert run("scan-shard", "q.json", "1/1", *ledger) == 0
    assert "0 images scanned, 12 there already, in memory://kept" in capsys.readouterr().out
    assert run(*other, "--rules", "guided", *ledger) == 0


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/3"])
def test_what_is_no_part_is_refused(capsys: pytest.CaptureFixture[str], part: str) -> None:
    check_refused(
        capsys,
        ("scan-shard", "--", "p.json", part),
        f"a part is I/N, from 1/N to N/N, such as 3/16; got '{part}'",
    )
