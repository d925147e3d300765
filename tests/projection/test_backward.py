"""The walk by windows gives the gradient of the whole rewritten graph, whatever the operators and the borders."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
import torchvision
from torch import Tensor, nn

from backlight import DECONVNET, GRADIENT, GUIDED, RuleSet, Unit, capture, project
from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.network.fold import fold_batch_norms
from backlight.projection import Projector, backward
from backlight.projection.backward import Backward, Part
from backlight.projection.rewrite import apply_rules
from small_zoo import SMALL_ZOO, small_swin

RULES = [
    DECONVNET,
    GUIDED,
    GRADIENT,
    RuleSet("largest", unpool="assign-largest", lrn="frozen", leaky="literal"),
]


def _trained_looking(model: nn.Module) -> nn.Module:
    """Give batch norms statistics that keep the signal alive, so that no pool chooses among rounding errors."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.05, 0.2)  # type: ignore[union-attr]
    return model


class _Mixture(nn.Module):
    """Operators that the zoo's small networks lack: gates, LRN, averages, leaky slopes, upsampling, splits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, 2, padding=1)
        self.inner = nn.ModuleList(
            nn.Conv2d(8, 8, 3, padding=d, dilation=d, groups=g) for d, g in ((1, 2), (2, 8))
        )
        self.norm, self.gate = nn.LayerNorm(8), nn.Conv2d(8, 1, 1)
        self.lrn, self.mix = nn.LocalResponseNorm(3), nn.Linear(8, 8)
        self.average, self.pool = nn.AvgPool2d(3, 2, padding=1), nn.MaxPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.stem(x), 0.1)
        x = self.lrn(self.pool(x)) + nn.functional.silu(self.inner[0](self.average(x)))
        x = x * torch.sigmoid(self.gate(x)) - 0.5 * torch.relu(self.inner[1](x))
        x = self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        left, right = x.chunk(2, 1)
        x = torch.cat([torch.relu(right), left], 1)
        return torch.relu(self.inner[0](nn.functional.interpolate(x, scale_factor=2.0)))


LARGE: dict[str, Callable[[], nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "shufflenet_v2_x0_5": torchvision.models.shufflenet_v2_x0_5,
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
}
NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet": SMALL_ZOO["resnet"],
    "squeezenet1_1": torchvision.models.squeezenet1_1,
    "shufflenet": SMALL_ZOO["shufflenet"],
    "mobilenet": SMALL_ZOO["mobilenet_v3"],
    "a mixture": _Mixture,
}


@cache
def _captured(name: str) -> Network:
    torch.manual_seed(0)
    return capture(_trained_looking((NETS | LARGE)[name]()).double(), (3, 61, 66))


def _compare(net: Network, layer: Layer, rules: RuleSet, images: Tensor) -> None:
    module = apply_rules(net, [layer], rules)
    edges = [(0, 0), (layer.shape[1] - 1, layer.shape[2] - 1), (0, layer.shape[2] // 2)]
    units = [(i % layer.n_maps, row, col) for i, (row, col) in enumerate(edges * 2)]
    owners = torch.tensor([0, 1, 1, 1, 0, 0])
    x = images[owners].clone().requires_grad_()
    (out,) = module(x)
    index = (torch.arange(6), *torch.tensor(units).unbind(1))
    seed = torch.zeros_like(out)
    seed[index] = out.detach()[index]
    (expected,) = torch.autograd.grad(out, x, seed)
    walk = Backward(fold_batch_norms(module))
    record, own = (walk.forward(images), owners) if walk.shares else (walk.forward(images[owners]), None)
    at, values, signals = zip(*walk.descend(record, [Part(0, units)], own), strict=True)
    back = torch.tensor([place for part in at for place in part]).argsort()
    found = torch.cat([s.whole(expected.shape).data for s in signals])[back]
    torch.testing.assert_close(torch.cat(values)[back], out.detach()[index], rtol=1e-9, atol=1e-12)
    scale = expected.abs().amax().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("cells", [1 << 24, 3000], ids=["at once", "by halves"])
@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", [*NETS, *(pytest.param(own, marks=pytest.mark.slow) for own in LARGE)])
def test_windows_give_the_gradient_of_the_whole_graph(
    name: str, rules: RuleSet, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backward, "MOST_CELLS", cells)
    net = _captured(name)
    images = torch.randn(2, 3, 61, 66, dtype=torch.float64)
    layers = net.default_layers
    for layer in {layers[0], layers[len(layers) // 2], layers[-1]}:
        _compare(net, layer, rules, images)


def test_one_forward_pass_serves_all_units_of_an_image() -> None:
    net = capture(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)), (3, 20, 20)
    )
    walk = Backward(apply_rules(net, [net.layer("3")], DECONVNET))
    record = walk.forward(torch.rand(1, 3, 20, 20))
    ((at, values, signals),) = walk.descend(record, [Part(0, [(0, 1, 2), (3, 4, 4)])], torch.tensor([0, 0]))
    assert values.shape == (2,)
    assert list(at) == [0, 1]
    assert signals.data.shape == (2, 3, 8, 8)  # the cone: 3 cells, 6 before the pool, 8 at the pixels
    assert [starts.tolist() for _, starts in signals.axes] == [[2, 8], [4, 8]]


def test_a_graph_that_mixes_images_runs_one_for_each_unit() -> None:
    torch.manual_seed(0)
    model = small_swin().eval()
    net = capture(model.double(), (3, 64, 64))
    layer = net.default_layers[-1]
    assert not Backward(
        apply_rules(net, [layer], DECONVNET)
    ).shares  # windows of attention are entries of the batch
    _compare(net, layer, DECONVNET, torch.randn(2, 3, 64, 64, dtype=torch.float64))


def test_units_of_several_layers_go_down_together_whether_or_not_they_share_images() -> None:
    torch.manual_seed(0)
    swin = small_swin().eval()
    for model in (swin, torchvision.models.squeezenet1_1()):
        net = capture(model.double(), (3, 64, 64))
        layers = (net.default_layers[0], net.default_layers[-1])
        units = [Unit(layer.name, c, 1, 2) for c in (0, 3) for layer in layers]
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        together = Projector(net, layers)(images, units, [0, 1, 1, 0])
        box = Box(0, 0, 64, 64)
        for i, image in enumerate((0, 1, 1, 0)):
            alone = project(net, images[image], [units[i]])[0]
            torch.testing.assert_close(together.on(i, box), alone, rtol=1e-9, atol=1e-12)


def test_units_alike_to_the_edges_go_down_together_on_windows_cut_at_the_edges() -> None:
    body = nn.Sequential(*(nn.Conv2d(2, 2, 9, padding=4) for _ in range(2)))
    net = capture(body, (2, 30, 40))
    walk = Backward(apply_rules(net, [net.layer("1")], DECONVNET))
    record = walk.forward(torch.rand(1, 2, 30, 40))
    corners = [(0, 0, 0), (0, 29, 0), (1, 0, 39), (0, 29, 39)]
    inner = [(0, 14, 20), (1, 15, 19)]
    ((_, _, cut),) = walk.descend(record, [Part(0, corners)], torch.tensor([0] * 4))
    assert cut.data.shape == (4, 2, 9, 9)  # of 17 cells, those inside
    assert [starts.tolist() for _, starts in cut.axes] == [[0, 21, 0, 21], [0, 0, 31, 31]]
    mixed = [corners[0], inner[0], corners[3], inner[1]]
    ((at, _, whole),) = walk.descend(record, [Part(0, mixed)], torch.tensor([0] * 4))
    assert list(at) == [0, 2, 1, 3]
    assert whole.data.shape == (4, 2, 17, 17)


class _SummedPair(nn.Module):
    """The gradient of a sum, one value for many cells, meets that of the parts."""

    def forward(self, x: Tensor) -> Tensor:
        pair = torch.stack([x, 2 * x.roll(1, 1)], 1)
        first, second = pair.unbind(1)
        return first + pair.sum(1) + second


class _WindowsOfImages(nn.Module):
    """Cuts images into windows that take the place of images, so that no image serves several units."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.reshape(-1, 3, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 4, 4)
        centred = windows - windows.mean((2, 3), keepdim=True)
        return self.last(centred.reshape(-1, 2, 2, 3, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, 8, 8))


@pytest.mark.parametrize("made", [_SummedPair, _WindowsOfImages])
def test_signals_that_share_memory_and_windows_instead_of_images(made: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = made().double()
    net = capture(model, torch.zeros(3, 8, 8).double())
    x = torch.randn(2, 3, 8, 8).double()
    found = project(net, x, Unit(net.layers[-1].name, 1, 2, 3), GRADIENT)
    pixels = x.clone().requires_grad_()
    values = model(pixels)[:, 1, 2, 3]
    (expected,) = torch.autograd.grad(values.sum(), pixels, None)
    torch.testing.assert_close(found, expected * values.detach()[:, None, None, None], rtol=1e-9, atol=1e-12)
