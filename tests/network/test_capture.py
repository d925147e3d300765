"""Capture: the graph computes what the model computes, and the model and its inputs are left exactly as they were."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

import backlight
from backlight import Network, Preprocessing, Unit, capture, project
from backlight.errors import BadInputError, CaptureError
from backlight.models.zfnet import alexnet_lrn, zfnet
from conftest import SmallNet
from small_zoo import SMALL_ZOO


def _state(model: nn.Module) -> list[object]:
    return [
        (name, m.training, getattr(m, "inplace", None), list(m._forward_hooks), list(m._forward_pre_hooks))
        for name, m in model.named_modules()
    ] + [(name, p.requires_grad, p.data_ptr(), p.grad, p.clone()) for name, p in model.named_parameters()]


def _equal(a: list[object], b: list[object]) -> bool:
    return all(
        all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(p, q, strict=True))
        for p, q in zip(a, b, strict=True)
    )


def test_the_model_is_left_exactly_as_it_was() -> None:
    model = SMALL_ZOO["resnet"]().train()
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    seen: list[int] = []
    model.layer2.register_forward_hook(lambda *_: seen.append(1))
    before, buffers = _state(model), copy.deepcopy(dict(model.named_buffers()))
    net = capture(model, (3, 64, 64))
    backlight.project(net, torch.randn(1, 3, 64, 64), [backlight.Unit("layer2.1.relu_1", 0, 0, 0)])
    assert _equal(before, _state(model))
    assert all(torch.equal(buffers[name], b) for name, b in model.named_buffers())


def test_the_graph_computes_the_models_inference_and_shares_its_weights() -> None:
    model = SMALL_ZOO["mobilenet_v2"]()
    net = capture(model, (3, 64, 64))
    x = torch.randn(3, 3, 64, 64)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x), rtol=0, atol=0)
        model.features[0][0].weight.mul_(2)
        torch.testing.assert_close(net(x), model(x), rtol=0, atol=0)
    pointers = {p.data_ptr() for p in model.parameters()}
    assert pointers <= {b.data_ptr() for b in net.module.buffers()}


class _Counting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(1, 0, 2, 3).reshape(3, len(x), -1).permute(1, 0, 2)


def test_a_graph_for_one_number_of_images_only_is_refused() -> None:
    with pytest.raises(
        CaptureError, match=r"_Counting makes the number of images a constant .* write x\.shape"
    ):
        capture(_Counting(), (3, 8, 8))


def test_zfnet_has_the_papers_sizes() -> None:
    net = capture(zfnet(), (3, 224, 224))
    sizes = {
        name: net.layer(name).shape
        for name in ("features.0", "features.2", "features.4", "features.6", "features.14")
    }
    assert sizes == {
        "features.0": (96, 110, 110),
        "features.2": (96, 55, 55),
        "features.4": (256, 26, 26),
        "features.6": (256, 13, 13),
        "features.14": (256, 6, 6),
    }
    fields = [net.layer(f"features.{i}").receptive_field for i in (0, 2, 4, 6, 8, 10, 12, 14)]
    assert [f.size[0] for f in fields if f] == [7, 11, 27, 43, 75, 107, 139, 171]
    assert [f.stride[0] for f in fields if f] == [2, 4, 8, 16, 16, 16, 16, 32]
    assert not net.coverage().unsupported


def test_alexnet_with_lrn_is_covered_and_its_norm_is_the_papers() -> None:
    net = capture(alexnet_lrn(), (3, 227, 227))
    assert [layer.shape[1] for layer in net.default_layers] == [55, 27, 13, 13, 13]
    assert not net.coverage().unsupported
    x = torch.randn(1, 8, 3, 3).abs() * 50
    norm = next(m for m in alexnet_lrn().modules() if isinstance(m, nn.LocalResponseNorm))
    by_hand = torch.stack(
        [x[:, k] / (2 + 1e-4 * x[:, max(k - 2, 0) : k + 3].square().sum(1)) ** 0.75 for k in range(8)], 1
    )
    torch.testing.assert_close(norm(x), by_hand)


class _Writing(nn.Module):
    """A small model that writes somewhere before or after its convolution."""

    def __init__(self, write: Callable[[_Writing, Tensor, Tensor | None], None]) -> None:
        super().__init__()
        self.conv, self.relu, self.write = nn.Conv2d(3, 4, 3), nn.ReLU(), write
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("which", torch.tensor([0, 3]))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.last: Tensor | None = None
        self.kept: list[Tensor] = []
        self.by_name: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.write(self, x, None)
        maps = self.conv(x)
        self.write(self, x, maps)
        return self.relu(maps - self.mean[:, None, None])


def _normalise(_: _Writing, x: Tensor, maps: Tensor | None) -> None:
    if maps is None:
        x.sub_(0.45).div_(0.22)


def _erase_a_corner(_: _Writing, x: Tensor, maps: Tensor | None) -> None:
    x[:, 0, :4, :4] = 0
    x[:, 1].mul_(2)


def _average(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.calls += 1
        model.mean.mul_(0.9).add_(0.1 * maps.mean((0, 2, 3)))


def _write_parts_of_a_buffer(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.mean[1:3] = maps.mean((0, 2, 3))[1:3]
        model.mean[model.which] += 1


def _cache(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.last = maps
        if torch.__version__ >= (2, 14):  # older ones refuse these
            model.kept.append(maps)
            model.by_name["maps"] = maps


WRITES = [_normalise, _erase_a_corner, _average, _write_parts_of_a_buffer, _cache]


@pytest.mark.parametrize("write", WRITES)
def test_a_network_answers_like_the_model_and_changes_nothing(
    write: Callable[[_Writing, Tensor, Tensor | None], None],
) -> None:
    torch.manual_seed(0)
    model = _Writing(write).eval()
    state = copy.deepcopy(model.state_dict())
    net = capture(model, (3, 12, 12))
    fingerprint, x = net.fingerprint(), torch.rand(1, 3, 12, 12)
    kept = x.clone()
    first, second = net(x), net(x)
    assert torch.equal(x, kept)
    assert torch.equal(first, second)
    assert net.fingerprint() == fingerprint
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (model.last, model.kept, model.by_name) == (None, [], {})
    with torch.no_grad():
        torch.testing.assert_close(first, copy.deepcopy(model)(x.clone()), rtol=0, atol=0)


def test_a_projection_after_a_call_equals_one_before() -> None:
    torch.manual_seed(0)
    net = capture(_Writing(_normalise), (3, 12, 12))
    x, unit = torch.rand(1, 3, 12, 12), [Unit("relu", 1, 2, 3)]
    before = project(net, x.clone(), unit)
    net(x)
    assert torch.equal(project(net, x, unit), before)


class _ReturnsItsBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += x.mean((0, 2, 3))
        return x * 2, self.seen


def test_a_buffer_that_is_returned_is_what_the_model_would_have_written() -> None:
    model = _ReturnsItsBuffer()
    net: Network = capture(model, (3, 4, 4))
    for _ in range(2):
        torch.testing.assert_close(net.module(torch.ones(1, 3, 4, 4))[1], torch.ones(3))
    assert not model.seen.any()


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


def test_a_preprocessing_of_another_size_is_refused_with_the_way_to_change_it() -> None:
    preprocessing = Preprocessing.default(3, 40)
    with pytest.raises(
        BadInputError, match=r"gives inputs of 3x40x40, and the network is captured for 3x32x32; "
    ):
        capture(SmallNet(), (3, 32, 32), preprocessing)
    assert capture(SmallNet(), (3, 32, 32), preprocessing.with_size((32, 32))).preprocessing.crop == (32, 32)
    with pytest.raises(
        BadInputError, match=r"gives inputs of 1x32x32, and the network is captured for 3x32x32$"
    ):
        capture(SmallNet(), (3, 32, 32), Preprocessing.default(1, 32))


class _Deciding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_the_traceback_of_a_model_that_cannot_be_captured_is_that_of_the_refusal() -> None:
    with pytest.raises(CaptureError) as refused:
        capture(_Deciding(), (3, 8, 8))
    lines = traceback.format_exception(refused.value)
    assert "another exception" not in "".join(lines)
    assert "direct cause" not in "".join(lines)
    assert lines[-1].startswith("backlight.errors.CaptureError: ")
    assert refused.value.__context__ is not None  # for `--debug`
