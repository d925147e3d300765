"""Names are torchvision's node names wherever both name a node, and they name the same tensor."""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from backlight import DECONVNET, GRADIENT, Network, RuleSet, capture, project, strongest
from backlight.network.names import module_outputs, name_nodes
from small_zoo import SMALL_ZOO

# Nodes that a functional graph does not have: arithmetic on sizes, parameters, the input itself, operators that do
# nothing at inference. `_get_postfix` counts of getitem then differ, since unpacked shapes are getitems too.
_NOT_TENSORS = (
    "getattr",
    "getitem",
    "size",
    "floordiv",
    "dropout",
    "stochastic_depth",
    "layer_scale",
    "view",
    "weight",
    "bias",
)

SMALL = {f"small_{name}": make for name, make in SMALL_ZOO.items()}
NAMES = [  # the zoo's networks at their own size take long, but for two
    *SMALL, "alexnet", "squeezenet1_0",
    *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "vgg11_bn", "resnet18", "googlenet", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
        "convnext_tiny", "regnet_y_400mf", "shufflenet_v2_x0_5", "mnasnet0_5",
    )),
]  # fmt: skip


@cache
def _captured(name: str) -> tuple[nn.Module, Network]:
    model = _make(name)
    return model, capture(model, (3, 64, 64))


def _make(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    make = SMALL.get(name) or partial(torchvision.models.get_model, name, weights=None, **options)
    model = make().eval()
    for (
        module
    ) in model.modules():  # a feature extractor would show what a later in-place call has made of a tensor
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


@pytest.mark.parametrize("name", NAMES)
def test_names_equal_torchvisions(name: str) -> None:
    model, net = _captured(name)
    theirs = get_graph_node_names(model)[1]
    ours = {*name_nodes(net.module.graph), *module_outputs(net.module.graph)}
    missing = [n for n in theirs[1:] if n not in ours and not any(part in n for part in _NOT_TENSORS)]
    own_dropouts = [n for n, m in model.named_modules() if isinstance(m, nn.Dropout)]
    assert set(missing) <= set(own_dropouts)


@pytest.mark.parametrize("name", ["small_resnet", "squeezenet1_0", "small_convnext", "small_shufflenet"])
def test_equal_names_mean_equal_tensors(name: str) -> None:
    model, net = _captured(name)
    theirs = set(get_graph_node_names(model)[1])
    both = [layer for layer in net.layers if layer.name in theirs and "getitem" not in layer.name]
    assert len(both) > 10
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = create_feature_extractor(model, [layer.name for layer in both])(x)
        ours = net.features(both)(x)
    for layer, out in zip(both, ours, strict=True):
        theirs_out = expected[layer.name]
        if isinstance(
            theirs_out, torch.Tensor
        ):  # not the tuple that `chunk` gives, of which we name the parts
            torch.testing.assert_close(
                out, theirs_out.permute(layer.order), rtol=1e-4, atol=1e-5, msg=layer.name
            )


class _Reuse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_2 = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv_2(x))
        x = self.relu(self.conv_2(torch.cat([x[:, :2], x[:, :1]], 1)))
        x += 1
        return nn.functional.relu(nn.functional.relu(x) - 1)


def test_reused_modules_and_functions_are_counted_and_modules_keep_their_path() -> None:
    names = [layer.name for layer in capture(_Reuse(), (3, 8, 8)).layers]
    # Whether a slice has a name of its own depends on the release of torch.
    assert [name for name in names if not name.startswith("getitem")] == [
        "conv_2",
        "relu",
        "cat",
        "conv_2_1",
        "relu_1",
        "add",
        "relu_2",
        "sub",
        "relu_3",
    ]


def test_a_module_path_names_what_the_module_gave_back() -> None:
    _, net = _captured("small_resnet")
    assert net.layer("layer1.0").name == "layer1.0.relu_1"
    assert net.layer("layer1.0.bn2").operator == "getitem"


class _Shared(nn.Module):
    """A block that is called by one path and registered by another too."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.skip = nn.ModuleDict({"down": self.block})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip["down"](x)


def test_a_module_that_is_registered_twice_has_both_names() -> None:
    model = _Shared()
    net = capture(model, (3, 8, 8))
    assert net.layer("block.0") == net.layer("skip.down.0")
    assert net.layer("block.1") == net.layer("skip.down.1") == net.layer("block") == net.layer("skip.down")
    assert len(net.layers) == 2


class _Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        padding = torch.zeros(y.shape[0], 2, *y.shape[2:])
        return self.relu(torch.cat([y.data, padding.data], 1).detach() * self.conv.weight.data.sum())


@pytest.mark.parametrize("rules", [DECONVNET, GRADIENT], ids=["deconvnet", "gradient"])
def test_data_and_detach_are_steps_that_a_projection_passes_through(rules: RuleSet) -> None:
    torch.manual_seed(0)
    model = _Detached().eval()
    net = capture(model, (3, 8, 8))
    assert [layer.name for layer in net.layers] == ["conv", "getattr", "cat", "detach", "mul", "relu"]
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x), rtol=0, atol=0)
    assert project(net, x, strongest(net, x, "relu", 1), rules=rules).any()


def test_a_function_and_a_method_of_one_line_are_two_nodes() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.relu(x - 1).sub(x).relu()

    net = capture(Twice(), (1, 2, 2))
    assert [layer.name for layer in net.layers] == ["sub", "relu", "sub_1", "relu_1"]
