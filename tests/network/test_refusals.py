"""What cannot be captured is refused for its true cause, in one line that names the user's own line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from backlight import capture
from backlight.errors import CaptureError


class _Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = x + 1
        return x


class _Numpy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy())


@pytest.mark.parametrize(
    ("model", "line"),
    [(_Branching(), r"if x\.sum\(\) > 0:"), (_Numpy(), r"return torch\.from_numpy\(x\.numpy\(\)\)")],
)
def test_what_cannot_be_captured_is_named_by_its_line(
    model: nn.Module, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CaptureError, match=rf"test_refusals\.py:\d+ in forward: `{line}`") as caught:
        capture(model, (3, 8, 8))
    assert "\n" not in str(caught.value)
    assert "torch.where" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(3, 32, 32), (1, 224, 224)])
def test_a_size_that_the_model_does_not_take_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(CaptureError, match=f"does not take an input of {'x'.join(map(str, size))}"):
        capture(torchvision.models.alexnet(), size)


def test_a_program_for_another_size_says_its_size() -> None:
    program = torch.export.export(nn.Conv2d(3, 4, 3), (torch.rand(1, 3, 8, 8),)).module(check_guards=False)
    with pytest.raises(CaptureError, match=r"exported for images of 3x8x8, got 3x16x16; give the size that"):
        capture(program, (3, 16, 16))


class _Two(nn.Module):
    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return image + other


class _Dict(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["image"] + 1


@dataclass
class _Found:
    logits: Tensor


class _Returns(nn.Module):
    def forward(self, x: Tensor) -> _Found:
        return _Found(x + 1)


class _Mistyped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.double())


class _Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.missing(x)


class _Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.mean()) if x.mean().item() > 0 else x


def _with_fake_quantisation() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), torch.ao.quantization.FakeQuantize())


REFUSALS = {
    "two inputs": (_Two(), r"_Two takes 2 inputs \(image, other\).* with the other inputs fixed"),
    "a dict": (
        _Dict(),
        r"_Dict takes a dict.*: stopped at test_refusals\.py:\d+ in forward: `return batch",
    ),
    "a dataclass": (
        _Returns(),
        r"_Returns returns _Found, which torch cannot take apart.*register_dataclass",
    ),
    "a type": (
        _Mistyped(),
        r"_Mistyped does not take numbers of this type: .*`return self\.conv\(x\.double\(\)\)`",
    ),
    "an error": (
        _Broken(),
        r"_Broken fails when it runs: .*no attribute 'missing'\); fix that line first",
    ),
    "channels": (
        nn.Conv2d(1, 4, 3),
        r"Conv2d does not .* 3x8x8: it takes 1 channel, got 3 .* give an example with 1 channel",
    ),
    "a size": (
        nn.Sequential(nn.Flatten(), nn.Linear(5, 2)),
        r"does not take an input of 3x8x8: .*; give the size that the model was trained with",
    ),
    "values": (_Reads(), r"_Reads could not be captured: .* make that line independent of the values"),
    "quantisation": (
        _with_fake_quantisation(),
        r"simulates quantisation \(first at '1'\).* from before torch's",
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_names_the_true_cause_in_one_line(kind: str) -> None:
    model, line = REFUSALS[kind]
    with pytest.raises(CaptureError, match=line) as caught:
        capture(model, (3, 8, 8))
    text = str(caught.value)
    assert "\n" not in text
    assert ("the size that the model was trained with" in text) == (kind == "a size")
    assert ("independent of the values" in text) == (kind == "values")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_is_refused() -> None:
    script = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8))
    with pytest.raises(
        CaptureError, match=r"is TorchScript, .* capture the Python model that it was made from"
    ):
        capture(script, (3, 8, 8))


class ByKeyword(nn.Conv2d):
    """A convolution whose input has to be named."""

    def forward(self, *, image: Tensor) -> Tensor:
        return super().forward(image)


class OfAList(nn.Module):
    """Takes a list of images."""

    def forward(self, images: Any) -> Tensor:
        return torch.stack(images).relu()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (ByKeyword(3, 4, 3), r"by keyword only \(image=\), .*forward\(x\) calls it with image=x"),
        (OfAList(), r"takes a list of tensors, .* makes the list from x"),
        (nn.Sequential(torch.ao.nn.quantized.Conv2d(3, 4, 3)), r"is quantised \(first at '0'\).*float model"),
    ],
    ids=["by keyword", "a list", "quantised"],
)
def test_inputs_and_weights_of_another_kind_are_refused_for_what_they_are(
    model: nn.Module, reason: str
) -> None:
    with pytest.raises(CaptureError, match=reason):
        capture(model, (3, 8, 8))
