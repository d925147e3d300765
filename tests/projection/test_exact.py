"""A projection equals the deconvnet written out in loops, whatever the geometry of the network."""

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.projection import Unit, project
from replicas.compare import same
from replicas.twin import Add, Concat, Twin

WITHOUT_SHRINKING = (
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
)  # it takes minutes, and the parts are printed
FEW = settings(max_examples=4, deadline=None, derandomize=True, phases=WITHOUT_SHRINKING)
RULES = [
    DECONVNET,
    GUIDED,
    GRADIENT,
    RuleSet("identity", rectifier="identity"),
    RuleSet("largest", unpool="assign-largest", average_pool="transpose"),
    RuleSet("last", rectifier="guided", unpool="assign-last"),
]


def equals_replica(twin, image, *steps, rules=RULES):
    """Raise unless units of these steps project as in the replica: the two strongest, the most negative, the last."""
    net, replica = capture(twin, image), twin.replica()
    values = replica.up(image.numpy())
    for step in steps:
        shape, order = values[step].shape, values[step].argsort(axis=None)
        chosen = sorted({*order[-2:].tolist(), int(order[0]), len(order) - 1})
        places = [tuple(int(i) for i in np.unravel_index(index, shape)) for index in chosen]
        units = [Unit(f"steps.{step - 1}", *place) for place in places]
        for rule_set in rules:
            expected = [replica.down(step, place, rule_set) for place in places]
            same(project(net, image, units, rule_set), np.stack(expected))


def picture(height, width, channels=3, seed=0):
    return torch.randn(
        channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@st.composite
def convolutions(draw, n_in):
    groups = draw(st.sampled_from([g for g in (1, 2, n_in) if n_in % g == 0]))
    sides = st.tuples(st.integers(1, 4), st.integers(1, 3))
    return nn.Conv2d(
        n_in,
        groups * draw(st.integers(1, 2)),
        draw(sides),
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 2))),
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 1))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )


@st.composite
def max_pools(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(2, 4)))
    return nn.MaxPool2d(
        kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=tuple(draw(st.integers(0, k // 2)) for k in kernel),
        dilation=draw(st.integers(1, 2)),
        ceil_mode=draw(st.booleans()),
    )


@st.composite
def average_pools(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(2, 3)))
    return nn.AvgPool2d(
        kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=tuple(draw(st.integers(0, k // 2)) for k in kernel),
        ceil_mode=draw(st.booleans()),
        count_include_pad=draw(st.booleans()),
    )


SIZES = st.tuples(st.integers(7, 11), st.integers(7, 11))


def branches(image, branch_list):
    """Return a twin of parallel branches from the image, and the last step of each that fits the image."""
    steps, ends = [], []
    for branch in branch_list:
        if fits(branch, image):
            starts = [0, *range(len(steps) + 1, len(steps) + len(branch))]
            steps += [(module, (start,)) for module, start in zip(branch, starts, strict=True)]
            ends.append(len(steps))
    flat = [(nn.Flatten(), (end,)) for end in ends]
    first = len(steps) + 1
    return Twin(*steps, *flat, (Concat(), tuple(range(first, first + len(flat))))), ends


def fits(branch, image):
    try:
        return nn.Sequential(*branch).double()(image[None]).numel() > 0
    except RuntimeError:  # a kernel larger than what is left of the image
        return False


@FEW
@given(st.data(), SIZES, st.integers(0, 99))
def test_convolutions_of_every_geometry(data, size, seed):
    torch.manual_seed(seed)
    image, found = picture(*size, channels=4, seed=seed), []
    for _ in range(4):
        first = data.draw(convolutions(4))
        found.append([first, nn.ReLU(), data.draw(convolutions(first.out_channels))])
    twin, ends = branches(image, found)
    equals_replica(twin, image, *ends)


def pools_equal_replica(pools, size, seed):
    torch.manual_seed(seed)
    image = picture(*size, seed=seed)
    stems = [nn.Conv2d(3, 4, 3, padding=1) for _ in pools]
    found = [
        [stem, nn.ReLU(), pool, nn.Conv2d(4, 3, (1, 2))] for stem, pool in zip(stems, pools, strict=True)
    ]
    twin, ends = branches(image, found)
    equals_replica(twin, image, *ends)


@FEW
@given(st.lists(max_pools(), min_size=4, max_size=4), SIZES, st.integers(0, 99))
def test_max_pools_of_every_geometry(pools, size, seed):
    pools_equal_replica(pools, size, seed)


@FEW
@given(st.lists(average_pools(), min_size=4, max_size=4), SIZES, st.integers(0, 99))
def test_average_pools_of_every_geometry(pools, size, seed):
    pools_equal_replica(pools, size, seed)


def test_a_small_network_of_the_papers_kind_down_from_every_layer():
    """Conv, relu, overlapping max pool, contrast normalisation, twice; then fully connected."""
    torch.manual_seed(3)
    twin = Twin(
        nn.Conv2d(3, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.LocalResponseNorm(3, alpha=0.5, k=2.0),
        nn.Conv2d(5, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.ReLU(),
        nn.Linear(6, 4),
    )
    image = picture(17, 16)
    lrn = [RuleSet(way, lrn=way) for way in ("identity", "frozen", "inverse", "vjp")]
    equals_replica(twin, image, *range(1, 8), 9, 10, 11, rules=RULES[:3])  # 8 is the view
    equals_replica(twin, image, 4, 9, rules=[*RULES[3:], *lrn])


def test_skips_concatenations_and_batch_norm():
    """Two residual blocks and a concatenation; batch norm scales of both signs; a fan-out to three places."""
    torch.manual_seed(1)
    norms = [nn.BatchNorm2d(4) for _ in range(3)]
    for norm in norms:
        norm.weight.data.normal_()
        norm.bias.data.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 3)
    assert any((norm.weight < 0).any() for norm in norms)
    twin = Twin(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        norms[0],
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        norms[1],
        (Add(), (5, 3)),
        nn.ReLU(),
        (nn.Conv2d(4, 2, 1), (7,)),
        (nn.MaxPool2d(3, 1, 1), (7,)),
        (Concat(), (8, 9, 3)),
        nn.Conv2d(10, 4, 3, groups=2),
        norms[2],
        (nn.Conv2d(4, 4, 3), (7,)),
        (Add(), (12, 13)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    image = picture(11, 9)
    equals_replica(twin.eval(), image, 6, 10, 14, 15, 18)


def test_adaptive_average_pooling_with_overlapping_windows():
    torch.manual_seed(2)
    twin = Twin(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.AdaptiveAvgPool2d((3, 4)), nn.Conv2d(4, 3, 2), nn.ReLU())
    equals_replica(twin, picture(8, 10), 5)


def test_global_average_pooling():
    torch.manual_seed(2)
    twin = Twin(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    equals_replica(twin, picture(6, 5), 5)


def test_leaky_and_smooth_rectifiers():
    torch.manual_seed(4)
    prelu = nn.PReLU(6)
    prelu.weight.data = torch.tensor([0.3, -0.2, 0.0, 1.5, 0.1, -1.0])
    kinds = [prelu, nn.LeakyReLU(0.2), nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.ELU()]
    steps = [s for kind in kinds for s in (nn.Conv2d(6, 6, 1), kind)]
    twin = Twin(*steps)
    for module in twin.steps[::2]:
        module.weight.data *= 3
    literal = [RuleSet("literal", leaky="literal"), RuleSet("relu", leaky="relu")]
    equals_replica(twin, 4 * picture(5, 6, channels=6), len(steps), rules=[*RULES, *literal])
