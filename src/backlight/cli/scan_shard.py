"""`backlight scan-shard`: a part of a build's scan, in this process; any number of them run beside each other."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import progress_bars, say
from backlight.errors import BadInputError
from backlight.text import counted


def scan_shard(
    plan: flags.PlanArgument,
    part: Annotated[str, typer.Argument(metavar="I/N", help="Which of how many parts, from 1/N to N/N.")],
    ledger: flags.LedgerAddress = None,
) -> None:
    """Scan one of N parts of a plan, as a job of a queue does.

    What is there already is not scanned again. For job arrays and plain processes: run all parts, in any order and on
    any machine, then `backlight merge`.
    """
    at, n_parts = _part(part)
    from backlight.cli.planning import read_planned
    from backlight.engines.gathering import scan_part

    made, found = read_planned(plan, ledger)
    with progress_bars() as progress:
        n_scanned, n_there = scan_part(made.plan, found, at, n_parts, progress)
    say(
        "part {} of {}: {} scanned, {} there already, in {}",
        at,
        n_parts,
        counted(n_scanned, "image"),
        n_there,
        found.folder.address,
    )


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise BadInputError(f"a part is I/N, from 1/N to N/N, such as 3/16; got {text!r}")
    return int(found[1]), int(found[2])
