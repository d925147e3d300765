"""project: many units at once are many units one by one; and what it refuses."""

import re

import pytest
import torch
from PIL import Image
from torch import nn

from backlight.errors import BadInputError, UnknownLayerError
from backlight.images import Preprocessing
from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.projection import Unit, project, strongest_units, superpose
from replicas.compare import differ, same, same_bits


class Net(nn.Module):
    """Two feature maps stacks, a channels-last one, and fully connected layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.relu1, self.pool = nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        self.mix, self.fc1, self.relu3, self.fc2 = (
            nn.Linear(8, 5),
            nn.Linear(5, 7),
            nn.ReLU(),
            nn.Linear(7, 4),
        )

    def mixed(self, x):
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        return self.mix(x.permute(0, 2, 3, 1))

    def forward(self, x):
        return self.fc2(self.relu3(self.fc1(self.mixed(x).mean((1, 2)))))


IMAGES = torch.randn(9, 3, 17, 15, generator=torch.Generator().manual_seed(1)).double()
UNITS = [
    Unit("relu1", 2, 0, 0),
    Unit("fc2", 3),
    Unit("relu2", 5, 3, 1),
    Unit("relu1", 4, 7, 6),
    Unit("mix", 1, 2, 3),
    Unit("relu3", 6),
    Unit("conv2", 0, 1, 2),
    Unit("relu1", 2, 0, 0),
    Unit("fc2", 0),
]


@pytest.fixture(scope="module")
def net():
    return capture(Net().double(), IMAGES)


@pytest.mark.parametrize("rules", [DECONVNET, GUIDED, GRADIENT], ids=lambda rules: rules.name)
def test_units_of_different_layers_in_one_call_are_the_same_as_one_by_one(net, rules):
    together = project(net, IMAGES, UNITS, rules)
    alone = [project(net, image, [unit], rules)[0] for image, unit in zip(IMAGES, UNITS, strict=True)]
    same(together, torch.stack(alone))
    differ(together[0], together[7])


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 100])
def test_the_batch_size_changes_nothing(net, batch_size):
    units = [UNITS[0], *(Unit("fc2", c) for c in (0, 1, 3, 3, 2)), *UNITS[5:8]]
    same(project(net, IMAGES, units, batch_size=batch_size), project(net, IMAGES, units, batch_size=3), 1e-14)


def test_a_later_window_outside_the_crop_still_wins():
    """Unit 0's window and the next one chose pixel 1; the next one's signal, nothing, is the last to be assigned."""
    model = nn.Sequential(nn.MaxPool2d((1, 2), 1), nn.Conv2d(1, 1, 1)).double()
    model[1].weight.data.fill_(1)
    image = torch.tensor([0.0, 9, 1, 0, 0, 0, 0, 0]).double().view(1, 1, 1, 8)
    net = capture(model, image)
    for mode, expected in {"add": 1, "assign-largest": 1, "assign-last": 0}.items():
        found = project(net, image, [Unit("1", 0, 0, 0)], RuleSet(mode, unpool=mode))
        value = net.features([net.layer("1")])(image)[0][0, 0, 0, 0]
        assert (found.flatten() / value).tolist() == [0, expected, 0, 0, 0, 0, 0, 0], mode


def test_one_image_serves_all_units(net):
    same_bits(project(net, IMAGES[2], UNITS), project(net, IMAGES[2:3].repeat(9, 1, 1, 1), UNITS))
    same_bits(project(net, IMAGES[2:3], UNITS), project(net, IMAGES[2], UNITS))


def test_the_seed_is_the_units_own_activation_in_its_own_image(net):
    """And the channels-last layer is addressed by channel, row and column all the same."""
    maps = net.features([net.layer("mix")])(IMAGES)[0]
    assert maps.shape == (9, 5, 4, 4)
    for at in ((0, 1, 3), (4, 2, 0)):
        x = IMAGES.clone().requires_grad_()
        value = Net().double().mixed(x)[:, at[1], at[2], at[0]]
        expected = value.detach().view(-1, 1, 1, 1) * torch.autograd.grad(value.sum(), x)[0]
        same(project(net, IMAGES, [Unit("mix", *at)] * 9, GRADIENT), expected)


def test_a_single_unit_is_projected_in_every_image(net):
    same_bits(project(net, IMAGES, UNITS[2]), project(net, IMAGES, [UNITS[2]] * 9))
    assert project(net, IMAGES[0], UNITS[1]).shape == (1, 3, 17, 15)


@pytest.mark.parametrize("batch_size", [2, 100])
def test_the_activations_are_given_back_if_asked(net, batch_size):
    pictures, values = project(net, IMAGES, UNITS, batch_size=batch_size, return_activations=True)
    same_bits(pictures, project(net, IMAGES, UNITS, batch_size=batch_size))
    expected = []
    for i, unit in enumerate(UNITS):
        place = (unit.channel,) if unit.row is None else (unit.channel, unit.row, unit.col)
        expected.append(net.features([net.layer(unit.layer)])(IMAGES[i : i + 1])[0][0, *place])
    same(values, torch.stack(expected))


def signs(net):
    """Return a unit's activation in each image, of both signs, and what one rectified step back makes of a seed."""
    values = net.features([net.layer("conv2")])(IMAGES)[0][:, 0, 1, 2]
    assert values.min() < 0 < values.max()
    return values


def test_a_negative_unit_shows_what_lowers_it_unless_another_seed_is_given(net):
    """*Convention*: of weights w a negative seed passes max(-w, 0) through a rectifier, a positive one max(w, 0)."""
    unit, values = Unit("conv2", 0, 1, 2), signs(net)
    raises, lowers = (project(net, IMAGES, unit, seed=seed) for seed in (1, -1))
    differ(raises, -lowers)
    own = torch.where((values > 0).view(-1, 1, 1, 1), raises, lowers) * values.abs().view(-1, 1, 1, 1)
    same(project(net, IMAGES, unit), own)
    same(project(net, IMAGES, unit, seed="activation"), own)


def test_seeds_belong_to_their_units_whatever_the_batches_and_layers(net):
    seeds = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0, 2.0, 0.0, -0.5, 4.0])
    for batch_size in (2, 100):
        found = project(net, IMAGES, UNITS, seed=seeds, batch_size=batch_size)
        alone = [project(net, i, u, seed=float(s))[0] for i, u, s in zip(IMAGES, UNITS, seeds, strict=True)]
        same(found, torch.stack(alone), 1e-14)
    assert not found[6].any()


def test_with_a_seed_a_bias_does_not_count():
    """The picture of a unit depends on its bias by its activation only: by the sign, and the scale."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).double()
    found = []
    for bias in (-20.0, 20.0):
        model[2].bias.data.fill_(bias)
        net, unit = capture(model, IMAGES), Unit("2", 1, 3, 2)
        found.append((project(net, IMAGES[0], unit), project(net, IMAGES[0], unit, seed=1)))
    (low, one), (high, other) = found
    same_bits(one, other)
    differ(low / low.abs().max(), high / high.abs().max())


def test_superposed_units_take_the_seeds_too(net):
    units = strongest_units(net, IMAGES[0], "relu1", 2)
    expected = project(net, IMAGES[0], units, seed=torch.tensor([1.0, 3.0])).sum(0)
    same_bits(superpose(net, IMAGES[0], "relu1", 2, seed=torch.tensor([1.0, 3.0])), expected)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (torch.ones(3), "seed is one number, or a tensor of one for each of the 9 units, got shape (3,)"),
        (float("nan"), "a seed is a finite real number, got nan"),
        (float("inf"), "a seed is a finite real number, got inf"),
    ],
)
def test_a_seed_that_is_none_is_refused(net, seed, message):
    with pytest.raises(BadInputError, match="^" + re.escape(message)):
        project(net, IMAGES, UNITS, seed=seed)


def test_one_projection_is_one_float_picture_that_holds_no_graph(net):
    found = project(net, IMAGES[0], UNITS[2:3])
    assert found.shape == (1, 3, 17, 15)
    assert found.dtype == torch.float64
    assert not found.requires_grad


def test_the_images_are_left_as_they_were(net):
    before = IMAGES.clone()
    project(net, IMAGES, UNITS)
    same_bits(IMAGES, before)
    assert not IMAGES.requires_grad
    assert IMAGES.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_user_has_turned_gradients_off(net, mode):
    with mode():
        found = project(net, IMAGES + 0, UNITS)
    same_bits(found.clone(), project(net, IMAGES, UNITS))


REFUSED = {
    "an unknown layer": (
        Unit("relu4", 0, 0, 0),
        "Net has no layer 'relu4'; did you mean 'relu3'?; net.layers lists",
    ),
    "a layer far from any": (
        Unit("zzz", 0),
        "Net has no layer 'zzz'; net.layers lists them",
    ),
    "a channel too high": (
        Unit("relu1", 6, 0, 0),
        "channel 6 is out of range for layer 'relu1' (6 feature maps); net.layers lists them",
    ),
    "a channel below zero": (
        Unit("fc2", -1),
        "channel -1 is out of range for layer 'fc2' (4 feature maps); ",
    ),
    "no row and column": (
        Unit("relu2", 1),
        "a unit of layer 'relu2' needs a row and a column (4x4); strongest(net, images, layer, channel) finds",
    ),
    "no column": (Unit("relu2", 1, 2), "a unit of layer 'relu2' needs a row and a column (4x4); "),
    "a row too high": (
        Unit("relu1", 0, 8, 0),
        "row 8, column 0 is out of range for layer 'relu1' (8x7 units)",
    ),
    "a column too high": (
        Unit("relu1", 0, 0, 7),
        "row 0, column 7 is out of range for layer 'relu1' (8x7 units)",
    ),
    "a column below zero": (Unit("relu1", 0, 0, -1), "row 0, column -1 is out of range for layer 'relu1'"),
    "a row in a fully connected layer": (
        Unit("fc2", 0, 0, 0),
        "layer 'fc2' has no rows and columns; leave row and col out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_units_that_do_not_exist_are_refused(net, case):
    unit, message = REFUSED[case]
    kind = UnknownLayerError if "layer" in case and "connected" not in case else BadInputError
    with pytest.raises(kind, match="^" + re.escape(message)):
        project(net, IMAGES[:2], [UNITS[0], unit])


def test_numbers_of_images_and_units_that_differ_are_refused(net):
    for n_images, n_units in ((3, 2), (2, 3), (1, 0), (2, 1)):
        message = (
            f"^one unit is projected in each image, got {n_images} images and {n_units} units; give as many"
        )
        with pytest.raises(BadInputError, match=message):
            project(net, IMAGES[:n_images], UNITS[:n_units])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_nothing_is_refused(net, batch_size):
    with pytest.raises(
        BadInputError, match=f"^batch_size is a number of images, at least 1, got {batch_size}$"
    ):
        project(net, IMAGES, UNITS, batch_size=batch_size)


def test_pictures_need_a_preprocessing(net):
    message = "^Net was captured without preprocessing and takes tensors only; pass capture"
    with pytest.raises(BadInputError, match=message):
        project(net, Image.new("RGB", (20, 20)), UNITS[:1])


@pytest.mark.parametrize("shape", [(1, 3, 17, 16), (3, 15, 17), (2, 17, 15)])
def test_images_of_another_size_are_refused(net, shape):
    with pytest.raises(BadInputError, match=r"^Net was captured for inputs of 3x17x15, got [0-9x]+; resize"):
        project(net, torch.zeros(shape).double(), UNITS[:1])


def test_pictures_are_prepared_by_the_networks_own_preprocessing(tmp_path):
    """*Convention*: and it is not undone: the projection is that of a network that knows nothing of it."""
    preprocessing = Preprocessing(None, (17, 15), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    model = Net()
    net = capture(model, (3, 17, 15), preprocessing)
    picture = Image.effect_noise((40, 50), 90).convert("RGB")
    picture.save(tmp_path / "noise.png")
    expected = project(capture(model, (3, 17, 15)), preprocessing.batch([picture]), UNITS[2:3])
    for images in (picture, [picture], tmp_path / "noise.png", str(tmp_path / "noise.png")):
        same_bits(project(net, images, UNITS[2:3]), expected)


def test_rules_may_be_given_as_a_text(net):
    text = "guided,unpool=assign-last"
    same_bits(project(net, IMAGES, UNITS, "guided"), project(net, IMAGES, UNITS, GUIDED))
    assert project(net, IMAGES[:1], UNITS[0], text).made.rules == text
    same_bits(
        superpose(net, IMAGES[0], "relu2", rules="guided"), superpose(net, IMAGES[0], "relu2", rules=GUIDED)
    )
