"""What must hold of every deconvnet, whatever its weights."""

import numpy as np
import pytest
import torch
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.projection import Unit, project
from replicas.compare import differ, every_place, pull, same
from replicas.twin import Add, Concat, Twin


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def small_net():
    """Overlapping pools, a skip, batch norm with scales of both signs, a strided and a dilated convolution."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    norm.weight.data = torch.tensor([1.0, -1.5, 0.3, -0.2, 2.0, 0.7])
    norm.bias.data = torch.randn(6)
    norm.running_mean, norm.running_var = torch.randn(6), torch.rand(6) + 0.5
    return Twin(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        norm,
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        (Add(), (4, 5)),
        nn.ReLU(),
        nn.Conv2d(6, 4, 2),
        nn.ReLU(),
    ).eval()


@pytest.fixture(scope="module")
def net():
    return capture(small_net(), noise(3, 23, 20))


RULES = [
    DECONVNET,
    GUIDED,
    RuleSet("largest", unpool="assign-largest"),
    RuleSet("last", unpool="assign-last"),
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
def test_positive_homogeneity(net, rules):
    """D(c a) = c D(a) for c > 0, to the bit for a power of two; and not for c < 0."""
    image, seed = noise(1, 3, 23, 20), noise(1, 4, 5, 4, seed=1)
    _, once = pull(net, "steps.8", image, seed, rules)
    assert torch.equal(pull(net, "steps.8", image, 4 * seed, rules)[1], 4 * once)
    same(pull(net, "steps.8", image, 0.3 * seed, rules)[1], 0.3 * once)
    differ(pull(net, "steps.8", image, -seed, rules)[1], -once)


def test_nothing_comes_of_nothing(net):
    """D(0) = 0: no bias is added anywhere."""
    for rules in RULES:
        below = pull(net, "steps.8", noise(1, 3, 23, 20), torch.zeros(1, 4, 5, 4).double(), rules)[1]
        assert not below.any()


def test_deconvnet_is_not_additive_and_the_gradient_is():
    """Two units whose weights to one hidden unit are 1 and -1: each alone gives 1 or 0, both together 0."""
    twin = Twin(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1))
    twin.steps[0].weight.data.fill_(1)
    twin.steps[2].weight.data[:, 0, 0, 0] = torch.tensor([1.0, -1.0])
    image = torch.full((1, 1, 1, 1), 5.0).double()
    net = capture(twin, image)
    first, second = torch.eye(2).double().view(2, 1, 2, 1, 1)
    for rules, expected in {DECONVNET: (1, 0, 0), GUIDED: (1, 0, 0), GRADIENT: (1, -1, 0)}.items():
        ways = [
            pull(net, "steps.2", image, seed, rules)[1].item() for seed in (first, second, first + second)
        ]
        assert tuple(ways) == expected


def test_at_a_fan_out_the_signals_are_summed_before_they_are_rectified():
    """Two branches bring +2 and -1 to one unit: 1 goes on; rectified first it would have been 2."""
    twin = Twin(
        nn.Conv2d(1, 1, 1),
        nn.ReLU(),
        (nn.Conv2d(1, 1, 1), (2,)),
        (nn.Conv2d(1, 1, 1), (2,)),
        (Concat(), (3, 4)),
        nn.Conv2d(2, 1, 1),
    )
    for step, weight in ((0, 1.0), (2, 2.0), (3, -1.0), (5, 1.0)):
        twin.steps[step].weight.data.fill_(weight)
    image = torch.full((1, 1, 1, 1), 3.0).double()
    one = torch.ones(1, 1, 1, 1).double()
    assert pull(capture(twin, image), "steps.5", image, one, DECONVNET)[1].item() == 1


@pytest.mark.parametrize("place", [(1, 1), (0, 0), (2, 3)])
def test_layer_one_is_the_activation_times_the_filter_pasted_at_the_receptive_field(place):
    """Not flipped, rows before columns; at the border it is cut off."""
    torch.manual_seed(0)
    twin = Twin(nn.Conv2d(3, 5, (3, 4), stride=(2, 1), padding=(1, 2)), nn.ReLU())
    image = noise(3, 6, 5, seed=2)
    net = capture(twin, image)
    value = net.features([net.layer("steps.0")])(image[None])[0][0]
    channel = int(value[:, place[0], place[1]].argmax())
    box = net.layer("steps.1").receptive_field.box(*place)
    canvas = torch.zeros(3, 20, 20).double()
    canvas[:, 5 + box.top : 5 + box.bottom, 5 + box.left : 5 + box.right] = twin.steps[0].weight[channel]
    expected = value[channel, place[0], place[1]] * canvas[:, 5:11, 5:10]
    same(project(net, image, [Unit("steps.1", channel, *place)])[0], expected)


def test_the_transposed_filter_is_the_flipped_filter_over_a_signal_spread_with_zeros():
    """The paper's words: flip each filter vertically and horizontally, inputs and outputs swapped."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, (2, 3), stride=(3, 2)).double()
    net = capture(Twin(layer), noise(3, 11, 9))
    seed = noise(1, 4, 4, 4, seed=3)
    spread = np.zeros(
        (4, 11 + 1, 9 + 2)
    )  # the signal's entries one stride apart, padded by the filter less one
    spread[:, 1 : 1 + 10 : 3, 2 : 2 + 7 : 2] = seed[0].numpy()
    flipped = layer.weight.detach().numpy()[:, :, ::-1, ::-1]
    expected = np.zeros((3, 11, 9))
    for _, row, col in every_place((1, 11, 9)):
        expected[:, row, col] = np.einsum("ochw,ohw->c", flipped, spread[:, row : row + 2, col : col + 3])
    same(pull(net, "steps.0", noise(1, 3, 11, 9), seed, DECONVNET)[1][0], expected)


def test_where_all_is_positive_the_three_methods_are_one():
    torch.manual_seed(0)
    twin = Twin(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 3, 2), nn.ReLU())
    for parameter in twin.parameters():
        parameter.data.abs_()
    image = noise(3, 13, 12).abs()
    net = capture(twin, image)
    units = [Unit("steps.4", 2, 3, 1)]
    gradient = project(net, image, units, GRADIENT)
    assert torch.equal(project(net, image, units, DECONVNET), gradient)
    assert torch.equal(project(net, image, units, GUIDED), gradient)


def test_guided_is_deconvnet_masked_in_every_layer():
    """By hand over two rectifiers: each masks the rectified signal where its unit was off."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 5, 3).double(), nn.Conv2d(5, 4, 3).double()
    twin, image = Twin(first, nn.ReLU(), second, nn.ReLU()), noise(1, 3, 9, 9, seed=4)
    below = first(image)
    above = second(below.relu())
    seed = noise(1, 4, 5, 5, seed=5)
    signal = nn.functional.conv_transpose2d(seed.clamp_min(0) * (above > 0), second.weight)
    signal = nn.functional.conv_transpose2d(signal.clamp_min(0) * (below > 0), first.weight)
    same(pull(capture(twin, image), "steps.3", image, seed, GUIDED)[1], signal)


def test_folding_batch_norm_changes_nothing():
    """Also where its scale is negative."""
    twin, image = small_net(), noise(3, 23, 20, seed=6)
    folded = small_net()
    norm, conv = twin.steps[1], folded.steps[0]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    assert scale.min() < 0 < scale.max()
    conv.weight.data *= scale.view(-1, 1, 1, 1)
    conv.bias.data = (conv.bias - norm.running_mean) * scale + norm.bias
    folded.steps[1] = nn.Identity()
    units = [Unit("steps.8", 1, 2, 2), Unit("steps.6", 3, 0, 4)]
    nets = capture(twin, image), capture(folded, image)
    for rules in RULES:
        same(project(nets[0], image, units, rules), project(nets[1], image, units, rules))


def test_without_max_pooling_a_unit_looks_the_same_in_every_image_but_for_its_strength():
    """The picture comes through the switches. Guided and max pooling break it."""
    torch.manual_seed(0)
    images = noise(2, 3, 15, 15, seed=7)
    unit = Unit("steps.3", 2, 1, 1)

    def pictures(twin, rules):
        net = capture(twin, images)
        found = project(net, images, [unit, unit], rules)
        return found / net.features([net.layer("steps.3")])(images)[0][:, 2, 1, 1].view(-1, 1, 1, 1)

    all_conv = Twin(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Softplus())
    pooled = Twin(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2), nn.Conv2d(4, 3, 3), nn.Softplus())
    same(*pictures(all_conv, DECONVNET))
    differ(*pictures(all_conv, GUIDED))
    differ(*pictures(pooled, DECONVNET))


@pytest.mark.parametrize("layer", [f"steps.{i}" for i in range(9)])
def test_support_lies_inside_the_receptive_field(net, layer):
    """For every place of a layer, at the borders too."""
    found = net.layer(layer)
    image = noise(3, 23, 20, seed=8)
    channels = net.features([found])(image[None])[0][0].abs().argmax(0)
    places = every_place(found.shape[1:])
    units = [Unit(layer, int(channels[place]), *place) for place in places]
    for rules in (DECONVNET, GRADIENT):
        for place, picture in zip(places, project(net, image, units, rules), strict=True):
            box = found.receptive_field.box(*place).clip(23, 20)
            picture[:, box.top : box.bottom, box.left : box.right] = 0
            assert not picture.any(), f"{place} reaches outside {box}"
