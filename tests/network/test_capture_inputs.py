"""Unusual models: other dtypes, programs for one image; what cannot be captured is refused for its true cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from backlight import Network, capture, project, strongest
from backlight.errors import CaptureError


class _TakesPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x.float() / 255))


def test_whole_numbers_are_given_as_floating_ones_and_scaled_by_the_model() -> None:
    torch.manual_seed(0)
    model, x = _TakesPixels(), torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    net = capture(model, x)
    assert net.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(net(net.prepare(x)), model(x))
    picture = project(net, x, strongest(net, x, "relu", 1))
    assert picture.dtype == torch.float32
    assert picture.any()


@pytest.mark.parametrize("dtype", [torch.half, torch.double])
def test_an_example_gets_the_floating_type_of_the_weights(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(dtype)
    assert capture(model, torch.rand(1, 3, 8, 8)).dtype == dtype


class _Flattens(nn.Module):
    """Mixes the number of images into several sizes, as windows, tokens and flattening do."""

    def __init__(self, count: Any = lambda x: x.shape[0]) -> None:
        super().__init__()
        self.count, self.conv, self.relu = count, nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.token, self.head = nn.Parameter(torch.randn(1, 1, 4)), nn.Linear(17 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = self.count(x)
        maps = self.relu(self.conv(x))
        windows = maps.view(n, 4, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 2, 2, 4)
        tokens = torch.cat([self.token.expand(n, -1, -1), windows.reshape(n, 16, 4)], 1) + torch.zeros(
            n, 17, 4
        )
        return self.head(tokens.reshape(n, -1))


def _answers_like(net: Network, model: nn.Module) -> None:
    x = torch.rand(3, 3, 4, 4)
    with torch.no_grad():
        each = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(net(x), each)


@pytest.mark.parametrize("n_images", [1, 2])
def test_a_program_for_one_number_of_images_takes_any_number(n_images: int) -> None:
    torch.manual_seed(0)
    model = _Flattens().eval()
    program = torch.export.export(model, (torch.rand(n_images, 3, 4, 4),))
    net = capture(program.module(check_guards=False), (3, 4, 4))
    _answers_like(net, model)
    assert [layer.name for layer in net.default_layers] == ["relu"]


@pytest.mark.parametrize("count", [len, lambda _: 1], ids=["len(x)", "1"])
def test_a_model_that_counts_its_images_takes_any_number(count: Any) -> None:
    torch.manual_seed(0)
    model = _Flattens(count).eval()
    _answers_like(capture(model, (3, 4, 4)), model)


class _Mixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (
            x.permute(1, 0, 2, 3).reshape(3, len(x) * 16).t().reshape(len(x), -1)
            + torch.arange(len(x))[:, None]
        )


def test_a_program_that_mixes_images_says_how_to_export_it() -> None:
    program = torch.export.export(_Mixes(), (torch.rand(1, 3, 4, 4),)).module(check_guards=False)
    call = (
        "torch.export.export(model, (torch.rand(2, 3, 4, 4),), dynamic_shapes=({0: torch.export.Dim.AUTO},))"
    )
    with pytest.raises(CaptureError, match=f"takes 1 image at a time; .*: {re.escape(call)}$"):
        capture(program, (3, 4, 4))


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
        r"_Dict takes a dict.*: stopped at test_capture_inputs\.py:\d+ in forward: `return batch",
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


def test_a_torch_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0+cu128"))
    with pytest.raises(
        CaptureError, match=r"takes torch 2\.9 or newer, got 2\.8\.0.*; upgrade torch and torchvision"
    ):
        capture(nn.Conv2d(3, 4, 3), (3, 8, 8))


def test_a_size_that_depends_on_a_mask_is_refused() -> None:
    mask = torch.arange(8) % 2 == 0

    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.conv(x[:, :, mask]))

    # torch 2.9 stops at the line itself; later ones trace it, and the graph is refused.
    refused = r"Picks makes a tensor whose size depends on values \(index\), as .*mask"
    stopped = r"stopped at .*x\[:, :, mask\].* make that line independent of the values"
    with pytest.raises(CaptureError, match=f"{refused}|{stopped}"):
        capture(Picks(), (3, 8, 8))


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
