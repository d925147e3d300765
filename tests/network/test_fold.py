"""Folding batch norm changes neither outputs nor gradients, and leaves the network as it was."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torchvision
from torch import fx, nn

from backlight import DECONVNET, capture
from backlight.network import Network
from backlight.network.cut import cut
from backlight.network.fold import fold_batch_norms
from backlight.operators.reading import aten, packet
from backlight.operators.table import is_batch_norm
from backlight.projection.rewrite import apply_rules
from small_zoo import SMALL_ZOO


class NormFirst(nn.Module):
    """As in DenseNet: the norm reads what others read too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        return torch.cat([x, self.conv2(self.norm(x).relu())], 1).relu()


class Kinds(nn.Module):
    """Every map that takes a norm: grouped, transposed, grouped and transposed, linear; and a norm without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, groups=1),
            nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
            nn.Conv2d(8, 4, 3, groups=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 6, 3, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
        )
        self.fc = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class NormOfRows(nn.Module):
    """The channels of the norm are not those of the linear map before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.fc = nn.Linear(14, 14)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.fc(self.conv(x).mean(3))).relu()


LARGE = {
    "resnet18": torchvision.models.resnet18,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False, aux_logits=False),
    "densenet121": torchvision.models.densenet121,
}
SMALL = {name: SMALL_ZOO[name] for name in ("resnet", "mobilenet_v2", "inception", "densenet")}
MODELS = {f"small_{name}": make for name, make in SMALL.items()} | {"norm_first": NormFirst, "kinds": Kinds}


@cache
def captured(name: str) -> Network:
    torch.manual_seed(0)
    model = (MODELS | LARGE)[name]().double()
    return captured_model(model, 16 if name in ("norm_first", "kinds") else 64)


def captured_model(model: nn.Module, size: int) -> Network:
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return capture(model, (3, size, size))


def heads(net: Network) -> list:  # type: ignore[type-arg]
    return [*net.default_layers, net.layers[-1]]


def norms(module: fx.GraphModule) -> int:
    return sum(is_batch_norm(n) for n in module.graph.nodes if n.op == "call_function")


def relative_error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((got - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("name", [*MODELS, *(pytest.param(own, marks=pytest.mark.slow) for own in LARGE)])
def test_outputs_and_gradients_stay_and_no_norm_does(name: str) -> None:
    net = captured(name)
    for module in (net.features(heads(net)), apply_rules(net, heads(net), DECONVNET)):
        folded = fold_batch_norms(module)
        assert norms(module) > 0 == norms(folded)
        x = torch.randn(3, *net.input_shape, dtype=torch.float64, requires_grad=True)
        wanted, got = module(x), folded(x)
        for a, b in zip(got, wanted, strict=True):
            assert relative_error(a, b) < 1e-12
        seeds = [torch.randn_like(y) for y in wanted]
        (down,) = torch.autograd.grad(got, x, seeds)
        assert relative_error(down, torch.autograd.grad(wanted, x, seeds)[0]) < 1e-12


def test_the_network_and_its_weights_stay_as_they_were() -> None:
    net = captured("kinds")
    before, module = net.fingerprint(), net.features(heads(net))
    code, names = module.code, dict(module.named_buffers())
    folded = fold_batch_norms(module)
    assert (net.fingerprint(), module.code) == (before, code)
    assert dict(module.named_buffers()).keys() == names.keys()
    own = {t.data_ptr() for t in names.values()}
    new = [t for n, t in folded.named_buffers() if n not in names]
    assert new and not own & {t.data_ptr() for t in new}


def test_what_goes_into_a_convolution_and_what_becomes_a_product() -> None:
    def products(name: str) -> int:
        net = captured(name)
        nodes = fold_batch_norms(net.features(heads(net))).graph.nodes
        return sum(packet(n) is aten.mul for n in nodes if n.op == "call_function")

    assert products("kinds") == 0
    assert products("norm_first") == 1


def test_a_norm_over_another_dimension_than_the_linear_map_s_is_a_product() -> None:
    torch.manual_seed(0)
    net = captured_model(NormOfRows().double(), 16)
    (output,) = net.module.graph.find_nodes(op="output")
    folded = fold_batch_norms(cut(net.module, [(output.args[0][0], None)]))
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    assert norms(folded) == 0
    assert relative_error(folded(x)[0], net(x)) < 1e-12


def test_nodes_keep_what_is_known_of_them() -> None:
    net = captured("small_resnet")
    module = net.features(heads(net))
    folded = fold_batch_norms(module)

    def paths(graph: fx.Graph) -> set[str]:
        stacks = [n.meta.get("nn_module_stack") for n in graph.nodes if n.op == "call_function"]
        return {next(reversed(s.values()))[0] for s in stacks if s}

    assert all("val" in n.meta for n in folded.graph.nodes if n.op == "call_function")
    gone = paths(module.graph) - paths(folded.graph)
    assert all("bn" in path or "downsample.1" in path for path in gone)
