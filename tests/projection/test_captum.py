"""Captum's implementation, written by others: equal where it is right, and where it is not the replica decides.

Captum gives the signal for a seed of one; Backlight seeds the activation itself. It shares average pools out.
"""

import copy

import captum.attr
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import RuleSet
from backlight.projection import Unit, project, strongest_units
from replicas.compare import differ, same
from replicas.twin import Add, Twin

METHODS = {
    "deconvnet": (captum.attr.NeuronDeconvolution, RuleSet("deconvnet", average_pool="transpose")),
    "guided": (captum.attr.NeuronGuidedBackprop, RuleSet("guided", "guided", average_pool="transpose")),
}
pytestmark = pytest.mark.filterwarnings("ignore:(Setting|Input Tensor)")


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


def by_captum(model, layer, image, unit, method):
    """Return Captum's signal for a unit, on a copy whose rectifiers are not in place (it cannot take those)."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    place = tuple(v for v in (unit.channel, unit.row, unit.col) if v is not None)
    return (
        METHODS[method][0](model, model.get_submodule(layer))
        .attribute(image[None].clone(), place)[0]
        .detach()
    )


def by_backlight(net, image, unit, method):
    """Return Backlight's projection without the factor of the activation, which must be positive."""
    seed = net.features([net.layer(unit.layer)])(image[None])[0][0]
    place = tuple(v for v in (unit.channel, unit.row, unit.col) if v is not None)
    assert seed[place] > 0  # D(c a) = c D(a) holds for positive c only
    return project(net, image, [unit], METHODS[method][1])[0] / seed[place]


class PlainResNet(nn.Module):
    """Two residual blocks whose rectifiers are modules of their own, none of them beside a skip."""

    def __init__(self):
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.ReLU()
        self.conv1, self.relu1, self.conv2 = (
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
        )
        self.norm, self.out, self.down = nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 1, stride=2)
        self.conv3, self.relu3 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.out(self.norm(self.conv2(self.relu1(self.conv1(x)))) + x)
        return self.fc(self.pool(self.relu3(self.conv3(x)) + self.down(x)).flatten(1))


def vgg():
    wide = [
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
    ]
    deep = [
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(200, 9),
        nn.ReLU(),
    ]
    return nn.Sequential(*wide, *deep, nn.Linear(9, 3))


NETS = {
    "alexnet": (torchvision.models.alexnet, 63, ["features.4", "features.8", "features.12", "classifier.6"]),
    "squeezenet1_1": (torchvision.models.squeezenet1_1, 64, ["features.1", "features.6", "features.12"]),
    "a small VGG": (vgg, 21, ["1", "4", "6", "10"]),
    "a small ResNet": (PlainResNet, 17, ["relu", "relu1", "out", "relu3", "fc"]),
}


@pytest.fixture(scope="module", params=NETS)
def plain(request):
    torch.manual_seed(1)
    build, side, layers = NETS[request.param]
    model, image = build().double().eval(), torch.randn(3, side, side).double()
    return model, capture(model, image), image, layers


def test_equals_captum_on_plain_rectifier_modules(plain, method):
    model, net, image, layers = plain
    for name in layers:
        (unit,) = strongest_units(net, image, name, top=1)
        same(by_backlight(net, image, unit, method), by_captum(model, name, image, unit, method), 1e-11)


def with_the_replica(twin, written, step, method):
    """Return what Captum and the replica give for a unit of the step; raise unless Backlight equals the replica.

    Both networks must compute the same; `written` is how an author might have written it.
    """
    torch.manual_seed(0)
    image = torch.randn(3, 9, 9).double()
    same(written(image[None]), twin(image[None]))
    net, replica = capture(written, image), twin.replica()
    maps = replica.up(image.numpy())[step]
    place = tuple(int(i) for i in torch.tensor(maps == maps.max()).nonzero()[0])
    expected = replica.down(step, place, METHODS[method][1]) / maps[place]
    unit = Unit(net.layer("last").name, *place)
    same(by_backlight(net, image, unit, method), expected)
    return by_captum(written, "last", image, unit, method), expected


class Written(nn.Module):
    """Two convolutions and a last one, with anything between."""

    def __init__(self, between, **modules):
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 4, 3, padding=1).double()
        self.last = nn.Conv2d(4, 3, 3).double()
        self.between = between
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.last(self.between(self, x))


def chain(net, rectifier=nn.ReLU):
    return Twin(net.first, rectifier(), net.second, rectifier(), net.last)


def test_captum_misses_rectifiers_that_are_functions(method):
    written = Written(lambda net, x: F.relu(net.second(F.relu(net.first(x)))))
    differ(*with_the_replica(chain(written), written, 5, method))


def test_captum_misses_relu6(method):
    written = Written(
        lambda net, x: net.relu2(net.second(net.relu1(net.first(x)))), relu1=nn.ReLU6(), relu2=nn.ReLU6()
    )
    differ(*with_the_replica(chain(written, nn.ReLU6), written, 5, method))


def test_captum_loses_the_skip_around_a_rectifier(method):
    def between(net, x):
        below = net.second(net.first(x))
        return net.relu(below) + below

    written = Written(between, relu=nn.ReLU())
    twin = Twin(written.first, written.second, nn.ReLU(), (Add(), (2, 3)), written.last)
    differ(*with_the_replica(twin, written, 5, method))


def test_a_rectifier_module_that_is_used_twice_is_right_in_both(method):
    """A hazard that Captum 0.9 has met."""
    written = Written(lambda net, x: net.relu(net.second(net.relu(net.first(x)))), relu=nn.ReLU())
    same(*with_the_replica(chain(written), written, 5, method))
