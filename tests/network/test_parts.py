"""Where the whole cannot be captured, a part that can is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight.cli.models import Overrides, load_network
from backlight.errors import CaptureError
from backlight.network.parts import part_that_can_be_captured

EXAMPLE = torch.zeros(1, 3, 16, 16)


class Pyramid(nn.Module):
    """A backbone as detectors have it: it returns several maps by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return two maps."""
        x = self.body(x)
        return {"0": x, "1": x[:, :, ::2, ::2]}


class Choosy(nn.Module):
    """A module whose forward depends on the values, which no graph can."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Return something, if the values allow it."""
        found = next(self.children())(x) if any(True for _ in self.children()) else x
        first = next(iter(found.values())) if isinstance(found, dict) else found
        return first if first.sum().item() > 0 else first[:, :1]


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (Choosy(head=nn.Conv2d(3, 64, 3), backbone=Pyramid()), "backbone"),
        (Choosy(small=nn.Conv2d(3, 1, 1), large=nn.Conv2d(3, 8, 3)), "large"),
        (Choosy(backbone=Choosy(body=nn.Conv2d(3, 8, 3))), "backbone.body"),
        (Choosy(backbone=Choosy(body=Choosy()), other=nn.Conv2d(3, 8, 3)), None),  # two are tried
        (Choosy(backbone=nn.Linear(3, 3)), None),
        (Choosy(), None),
    ],
    ids=["backbone", "largest", "within", "two", "does not fit", "none"],
)
def test_the_part_is_named(model: nn.Module, part: str | None) -> None:
    assert part_that_can_be_captured(model, EXAMPLE) == part


def test_the_error_says_what_to_capture_instead() -> None:
    model = Choosy(backbone=Pyramid())
    said = r"Choosy.*; its part 'backbone' can be captured: capture\(model\.backbone, \.\.\.\)$"
    with pytest.raises(CaptureError, match=said) as caught:
        backlight.capture(model, (3, 16, 16))
    assert caught.value.for_command_line.endswith("its part 'backbone' can be captured: MODEL#backbone")
    net = backlight.capture(model.backbone, (3, 16, 16))
    assert net.output_names == ("0", "1")
    assert net.default_layers
    with pytest.raises(CaptureError) as plain:
        backlight.capture(Choosy(), (3, 16, 16))
    assert "its part" not in str(plain.value)


DETECTOR = """
import torch
from torch import nn
class Detector(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
    def forward(self, x):
        found = self.backbone(x)
        return found if found.sum().item() > 0 else found[:, :1]
def frcnn(): return Detector(Detector(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())))
"""


def test_the_command_line_says_it_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "det.py").write_text(DETECTOR)
    for spec, expected in (
        ("det.py:frcnn", "det.py:frcnn#backbone.backbone"),
        ("det.py:frcnn#backbone", "det.py:frcnn#backbone.backbone"),
    ):
        with pytest.raises(CaptureError) as caught:
            load_network(spec, None, overrides=Overrides(size="16"))
        assert str(caught.value).endswith(f"can be captured: {expected}")
    assert load_network(expected, None, overrides=Overrides(size="16")).default_layers
