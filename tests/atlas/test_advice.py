"""Advice: the rules that the evidence in an atlas speaks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import damage
from backlight import DECONVNET, GUIDED, open_atlas
from backlight.atlas import Evidence, keep_evidence, rules_by_evidence
from backlight.errors import BadInputError
from fuzz.tiny import make_old_atlas


def test_each_layer_that_was_studied_gets_the_rules_with_the_best_evidence(tiny: Path) -> None:
    keep_evidence(tiny, "1", Evidence({"deconvnet": 0.5}, "as good", False, "deconvnet", 2), {})
    atlas = open_atlas(tiny)
    assert rules_by_evidence(atlas, atlas.model.fingerprint) == {"1": DECONVNET, "3": GUIDED}


def test_evidence_of_another_network_is_refused(tiny: Path) -> None:
    with pytest.raises(BadInputError, match=r"tiny\.atlas is of another model or other weights"):
        rules_by_evidence(open_atlas(tiny), "another")


def test_an_atlas_without_evidence_is_refused_with_advice_for_each_caller(tmp_path: Path) -> None:
    make_old_atlas(tmp_path / "old.atlas")
    damage(tmp_path / "old.atlas", "DELETE FROM evidence")
    atlas = open_atlas(tmp_path / "old.atlas")
    with pytest.raises(BadInputError, match=r"no evidence yet; run studies\.faithfulness on it") as raised:
        rules_by_evidence(atlas, atlas.model.fingerprint)
    assert raised.value.for_command_line.endswith("; run `backlight faithfulness old.atlas`")
