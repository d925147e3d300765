"""Capture: the graph computes what the model computes, and the model is left exactly as it was."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn

import backlight
from backlight import capture
from backlight.errors import BadInputError, CaptureError, UnknownLayerError
from backlight.models.zfnet import alexnet_lrn, zfnet
from backlight.network import OperatorClass
from small_zoo import SMALL_ZOO, captured_squeezenet


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
    with pytest.raises(CaptureError, match=rf"test_capture\.py:\d+ in forward: `{line}`") as caught:
        capture(model, (3, 8, 8))
    assert "\n" not in str(caught.value)
    assert "torch.where" in str(caught.value)
    assert capfd.readouterr() == ("", "")


class _Counting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(1, 0, 2, 3).reshape(3, len(x), -1).permute(1, 0, 2)


def test_a_graph_for_one_number_of_images_only_is_refused() -> None:
    with pytest.raises(
        CaptureError, match=r"_Counting makes the number of images a constant .* write x\.shape"
    ):
        capture(_Counting(), (3, 8, 8))


@pytest.mark.parametrize("size", [(3, 32, 32), (1, 224, 224)])
def test_a_size_that_the_model_does_not_take_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(CaptureError, match=f"does not take an input of {'x'.join(map(str, size))}"):
        capture(torchvision.models.alexnet(), size)


def test_an_example_that_is_not_an_image_is_refused() -> None:
    with pytest.raises(BadInputError, match="an example is"):
        capture(nn.Identity(), torch.zeros(3, 5))


def test_an_unknown_layer_is_named_with_the_closest_one() -> None:
    net = captured_squeezenet()
    with pytest.raises(
        UnknownLayerError, match=r"no layer 'features\.3\.cta'; did you mean 'features\.3\.cat'"
    ):
        net.layer("features.3.cta")


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


def test_coverage_names_each_operator_its_class_and_where() -> None:
    entries = {e.operator: e for e in capture(SMALL_ZOO["efficientnet"](), (3, 64, 64)).coverage().entries}
    assert entries["silu"].kind is OperatorClass.RECTIFIER
    assert entries["mul"].kind is OperatorClass.GATE
    assert entries["conv2d"].kind is OperatorClass.LINEAR
    assert "sigmoid" not in entries  # the gate's factor is held fixed
    assert entries["conv2d"].places[0] == "features.0.0"


def test_default_layers_are_the_rectified_maps_else_the_convolutions() -> None:
    squeezenet = captured_squeezenet()
    assert len(squeezenet.default_layers) == 26
    assert sum(layer.n_maps for layer in squeezenet.default_layers) == 3976
    mobilenet = capture(SMALL_ZOO["mobilenet_v2"](), (3, 64, 64))
    unrectified = [layer.name for layer in mobilenet.default_layers if not layer.rectified]
    assert unrectified[:2] == ["features.1.conv.2", "features.2.conv.3"]
    vgg = capture(torchvision.models.vgg16(init_weights=False).features, (3, 64, 64))
    assert sum(layer.n_maps for layer in vgg.default_layers) == 4224


def test_the_fingerprint_tells_weights_apart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    first = capture(model, (3, 8, 8)).fingerprint()
    assert capture(model, (3, 8, 8)).fingerprint() == first
    with torch.no_grad():
        model[0].bias[0] += 1
    assert capture(model, (3, 8, 8)).fingerprint() != first


def test_notebooks_show_the_layers() -> None:
    html = captured_squeezenet()._repr_html_()
    assert "<td style='text-align:left'><code>features.3.squeeze_activation</code></td><td>16</td>" in html
