"""The rules of a build: two spellings are one, and what cannot be projected is refused before any image is read."""

from pathlib import Path

import pytest
import torch
from torch import nn

from backlight import GRADIENT, GUIDED, build, capture
from backlight.atlas.plan import check_identity
from backlight.errors import AtlasError, UnsupportedOperatorError
from backlight.images import Preprocessing
from backlight.operators.ruleset import RuleSet, parse_rules


def identity(rules):
    return {"images": {}, "model": {}, "preprocessing": {}, "plan": {}, "rules": rules}


def as_stored_under(name, text):
    return parse_rules(text).to_dict() | {"name": name}


def test_a_build_goes_on_under_another_spelling_of_its_rules() -> None:
    stored = as_stored_under("deconvnet, average-pool = transpose", "deconvnet,average-pool=transpose")
    asked = parse_rules("deconvnet,average_pool=transpose").to_dict()
    check_identity("a.atlas", identity(stored), identity(asked))
    by_layer = {"name": "one and two", "layers": {"name": stored, "relu": GUIDED.to_dict()}}
    respelled = {"name": "two", "layers": {"name": asked, "relu": RuleSet("mine", "guided").to_dict()}}
    check_identity("a.atlas", identity(by_layer), identity(respelled))


@pytest.mark.parametrize("text", ["deconvnet", "deconvnet,average_pool=transpose,gates=vjp"])
def test_a_build_does_not_go_on_under_other_rules_of_the_same_name(text: str) -> None:
    stored = as_stored_under("mine", "deconvnet,average_pool=transpose")
    asked = as_stored_under("mine", text)
    for kept, given in (
        (stored, asked),
        ({"name": "mine", "layers": {"name": stored}}, {"name": "mine", "layers": {"name": asked}}),
    ):
        with pytest.raises(AtlasError, match="another rule set"):
            check_identity("a.atlas", identity(kept), identity(given))


class _NoDerivative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return torch.relu(x + torch.special.airy_ai(x))


def test_what_cannot_be_projected_is_refused_before_the_scan(tmp_path: Path, picture_folder: Path) -> None:
    net = capture(_NoDerivative(), (3, 32, 32), Preprocessing.default(3, 32))
    seen: list[str] = []
    with pytest.raises(UnsupportedOperatorError, match=r"^PyTorch has no derivative of special_airy_ai"):
        build(
            net,
            picture_folder,
            tmp_path / "a.atlas",
            rules=GRADIENT,
            progress=lambda phase, *_: seen.append(phase),
        )
    assert not seen
    assert not (tmp_path / "a.atlas").exists()
