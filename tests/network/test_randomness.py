"""Randomness in inference: dropout is switched off and other draws are reported, each by its line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backlight import capture
from backlight.errors import CaptureWarning
from cli.running import run


def _attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return (
        F.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=0.3).transpose(1, 2).reshape(x.shape)
    )


LEFT_ON: list[tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    ("dropout", lambda x: F.dropout(x, 0.5), lambda x: x),
    ("dropout", lambda x: F.dropout(x.clone(), 0.5, inplace=True), lambda x: x),
    ("feature_dropout", lambda x: F.dropout2d(x, 0.5), lambda x: x),
    ("alpha_dropout", lambda x: F.alpha_dropout(x, 0.5, training=True), lambda x: x),
    ("feature_alpha_dropout", lambda x: F.feature_alpha_dropout(x, 0.5, training=True), lambda x: x),
    ("rrelu", lambda x: F.rrelu(x - 1, training=True), lambda x: F.rrelu(x - 1)),
    ("scaled_dot_product_attention", _attention, lambda x: _exact(x)),
]


def _exact(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


class _Dropping(nn.Module):
    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.below, self.above, self.frozen = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), frozen
        self.steps = [left_on for _, left_on, _ in LEFT_ON]

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.frozen):
            maps = F.relu(self.below(x))
            for step in self.steps[:-1]:
                maps = step(maps)
        return self.steps[-1](F.relu(self.above(maps)))


@pytest.mark.parametrize("frozen", [False, True])
def test_dropout_that_is_left_on_is_switched_off_and_reported_by_its_line(frozen: bool) -> None:
    torch.manual_seed(0)
    model = _Dropping(frozen)
    with pytest.warns(CaptureWarning) as told:
        net = capture(model, (3, 8, 8))
    place = r"test_randomness\.py:\d+ \(`.*`\)"
    line = rf"_Dropping: (\w+) is left on in inference at {place}; .*=self\.training there"
    found = [re.fullmatch(line, str(warning.message)) for warning in told]
    assert sorted(match[1] for match in found if match) == sorted(name for name, _, _ in LEFT_ON)
    assert [layer.name for layer in net.layers if layer.rectified][-1] == "relu_1"
    model.steps = [inference for _, _, inference in LEFT_ON]
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x))


class _Switched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(3, 4, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.dropout(self.drop(self.conv(x)), 0.5, self.training)
        return F.dropout(F.rrelu(maps, training=self.training), 0.0)


def test_dropout_of_the_training_mode_is_not_reported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture(_Switched().train(), (3, 8, 8))


class _Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3)
        return x + torch.randn_like(x)


def test_other_random_numbers_are_reported_by_their_line() -> None:
    with pytest.warns(
        CaptureWarning, match=r"draws random numbers .* \(`return x \+ torch\.randn_like\(x\)`\)"
    ):
        capture(_Noisy(), (3, 8, 8))


MODEL = """
import torch
from torch.nn import functional as F
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return F.dropout(F.relu(self.conv(x)), 0.5)
"""


def test_the_command_line_shows_it_as_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dropping.py").write_text(MODEL)
    assert run("layers", "dropping.py:Net", "--size", "16") == 0
    assert (
        "note: Net: dropout is left on in inference at dropping.py:9 (`return F.dropout(F.relu(self.conv(x)), 0.5)`)"
        in capsys.readouterr().err
    )
