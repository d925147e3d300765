"""Projections: tensors to torch, pictures to notebooks; and any signed values as pictures."""

import copy
import io
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from backlight import BacklightError, Preprocessing, Projection, Unit, picture, project, strongest, superpose
from backlight.errors import BadInputError
from backlight.projection import pictures
from backlight.render import scale
from conftest import captured_small_net
from replicas.compare import same_bits

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
SEEN = Preprocessing(None, (32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def found():
    net = captured_small_net(SEEN)
    return project(net, IMAGES, strongest(net, IMAGES, "relu2", 5))


def plain(projection):
    return torch.tensor(projection.numpy())


def as_plain(result, expected):
    assert type(result) is torch.Tensor
    same_bits(result, expected)


def test_what_is_computed_from_it_is_a_plain_tensor(found):
    values = plain(found)
    assert isinstance(found, torch.Tensor)
    assert type(found) is Projection
    as_plain(found + 1, values + 1)
    as_plain(found.sum(0), values.sum(0))
    as_plain(torch.stack([found[0], found[1]]), values[:2])
    as_plain(torch.cat([found, found]), torch.cat([values, values]))
    as_plain(found.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1))
    as_plain(torch.nn.functional.avg_pool2d(found, 2), torch.nn.functional.avg_pool2d(values, 2))
    as_plain(torch.vmap(lambda one: one.abs().sum())(found), torch.vmap(lambda one: one.abs().sum())(values))
    assert torch.equal(found, values)
    assert np.array_equal(np.asarray(found), values.numpy())
    assert found.cpu() is found  # nothing is computed


def test_items_and_slices_are_projections_with_their_own_units(found):
    values, units = plain(found), found.units
    for i in (0, 3, -1, -4):
        assert (type(found[i]), found[i].units) == (Projection, (units[i],))
        same_bits(torch.tensor(found[i].numpy()), values[i])
        assert torch.equal(found[i].made.images[0], IMAGES[i])
    for part in (slice(1, 3), slice(None, None, 2), slice(-2, None)):
        assert (type(found[part]), found[part].units) == (Projection, units[part])
        assert torch.equal(found[part].activations, found.activations[part])
    assert [type(own) for own in found] == [Projection] * 4
    for index in (None, (0, 1), [0, 2], torch.tensor([True, False, True, False]), (slice(None), 0)):
        as_plain(found[index], values[index])
    as_plain(found[0][1], values[0, 1])
    with pytest.raises(IndexError):
        found[4]


def test_units_of_one_image_share_it():
    net = captured_small_net(SEEN)
    units = [Unit("relu2", channel, 1, 1) for channel in range(3)]
    many = project(net, IMAGES[1], units)
    assert (len(many.made.images), len(many[1:].made.images)) == (1, 1)
    assert np.array_equal(
        np.asarray(many[2].figure()), np.asarray(project(net, IMAGES[1], units[2]).figure())
    )


def test_it_is_saved_pickled_and_copied(found):
    values, kept = plain(found), io.BytesIO()
    as_plain(pickle.loads(pickle.dumps(found)), values)
    torch.save({"found": found}, kept)
    kept.seek(0)
    as_plain(torch.load(kept, weights_only=True)["found"], values)
    as_plain(load(save({"found": found}))["found"], values)
    twin = copy.deepcopy(found)
    assert (type(twin), twin.units) == (Projection, found.units)
    twin.zero_()
    same_bits(plain(found), values)


def test_the_line_of_a_notebook_is_short(found):
    assert repr(found) == str(found) == "Projection(4 x 3x32x32, 4 units of relu2, deconvnet)"
    unit = found.units[1]
    place = f"relu2 channel 5, row {unit.row}, column {unit.col}"
    assert repr(found[1]) == f"Projection(3x32x32, {place}, deconvnet)"
    assert f"{found[1:2]}" == f"Projection(1 x 3x32x32, {place}, deconvnet)"


def test_a_notebook_shows_each_beside_its_image(found):
    shown = np.asarray(Image.open(io.BytesIO(found._repr_png_())).convert("RGB"))
    assert np.array_equal(shown, np.asarray(found.figure()))
    for i in range(4):
        one = np.asarray(found[i].figure())
        # 32 pixels are drawn as squares of 7: the image, a line on both sides of a gap, and the projection
        image = np.rint(255 * (IMAGES[i].permute(1, 2, 0).numpy() * SEEN.std + SEEN.mean).clip(0, 1))
        left, right = (
            own.repeat(7, 0).repeat(7, 1) for own in (image, scale(found[i].numpy().transpose(1, 2, 0)))
        )
        (top, start) = _place(one, left)
        assert np.array_equal(one[top : top + 224, start + 228 : start + 452], right)


def _place(page, block):
    """Return the first row and column at which a page shows a block; raise where it does not."""
    rows, cols = page.shape[0] - block.shape[0] + 1, page.shape[1] - block.shape[1] + 1
    corners = np.argwhere((page[:rows, :cols] == block[0, 0]).all(2)).tolist()
    return next(
        (r, c) for r, c in corners if np.array_equal(page[r : r + len(block), c : c + block.shape[1]], block)
    )


def test_of_many_the_first_are_shown_and_that_is_said(found):
    net = captured_small_net(SEEN)
    many = project(net, IMAGES[0], [Unit("relu2", channel % 12, 1, 1) for channel in range(30)])
    assert Image.open(io.BytesIO(many._repr_png_())).size == many.figure(most=12).size
    assert many.figure().height > many.figure(most=12).height
    assert many[:0]._repr_png_() is None
    with pytest.raises(BadInputError, match=r"^most is a number of projections to draw, at least 1, got 0$"):
        many.figure(most=0)


def test_a_figure_says_what_was_sent_back(monkeypatch):
    legends = []
    draw = pictures.page
    monkeypatch.setattr(pictures, "page", lambda blocks, frame: legends.append(frame) or draw(blocks, frame))
    net = captured_small_net(SEEN)
    a, b = Unit("conv2", 0, 1, 1), Unit("conv2", 1, 2, 2)
    values = project(net, IMAGES[0], [a, b], return_activations=True)[1]
    assert (values < 0).any()
    for units, seed, said in (
        ([a, b], "activation", "A negative unit was seeded with its own value"),
        ([a, b], 2, "Every unit was seeded with 2 instead of its activation."),
        ([a, b], torch.tensor([1.0, 2.0]), "seeded with a number that was given for it"),
        (a + b, "activation", "grey is zero."),
    ):
        project(net, IMAGES[0], units, seed=seed).figure()
        assert said in legends[-1].legend
    assert legends[-1].legend.endswith("grey is zero.")
    assert legends[-1].title == "SmallNet · deconvnet projection"


def test_what_has_no_picture_is_a_line_in_a_notebook(found):
    broken = copy.deepcopy(found)
    broken[0, 0, 0, 0] = torch.nan
    assert broken._repr_png_() is None
    with pytest.raises(BadInputError, match=r"^a value to draw is not finite"):
        broken.figure()
    assert copy.deepcopy(found).unsqueeze_(0)._repr_png_() is None


def test_superposed_units_are_a_projection_too():
    net = captured_small_net(SEEN)
    total = superpose(net, IMAGES[0], "relu2", top=3)
    assert repr(total) == "Projection(3x32x32, 3 units of relu2, deconvnet)"
    assert len(total.activations) == 3
    assert total._repr_png_().startswith(b"\x89PNG")
    single = superpose(net, IMAGES[0], "relu2", top=1)
    assert torch.equal(single, project(net, IMAGES[0], single.units[0])[0])


def test_an_image_without_preprocessing_is_stretched_to_black_and_white():
    net = captured_small_net()
    shown = np.asarray(project(net, IMAGES[:1], Unit("relu2", 5, 2, 2)).figure())
    assert {0, 255} <= set(np.unique(shown[80:280, 30:230]))


def test_values_are_drawn_as_in_figures():
    values = np.random.default_rng(0).standard_normal((3, 5, 7))
    for given in (values, values.astype(np.float32), torch.tensor(values), torch.tensor(values)[None]):
        drawn = picture(given)
        assert drawn.size == (7, 5)
        assert np.array_equal(
            np.asarray(drawn), scale(values.transpose(1, 2, 0).astype(np.asarray(given).dtype))
        )
    assert np.array_equal(np.asarray(picture(values, "root")), scale(values.transpose(1, 2, 0), "root"))
    assert picture(torch.zeros(1, 5, 7, dtype=torch.bfloat16)).getextrema() == ((128, 128),) * 3
    assert np.array_equal(np.asarray(picture(values.tolist())), np.asarray(picture(values)))
    # channels that are no colours
    bands = np.random.default_rng(1).standard_normal((4, 5, 7))
    assert np.array_equal(np.asarray(picture(bands)), np.asarray(picture(bands.mean(0, keepdims=True))))


def test_several_are_a_contact_sheet_each_scaled_by_itself():
    values = torch.stack([torch.eye(4)[None], -9 * torch.eye(4)[None], torch.zeros(1, 4, 4)])
    sheet = np.asarray(picture(values))
    assert sheet.shape == (10, 10, 3)
    assert (sheet[0, 0, 0], sheet[0, 6, 0], sheet[6, 0, 0]) == (255, 1, 128)
    assert (sheet[4:6] == 255).all()
    assert (sheet[6:, 6:] == 255).all()  # no fourth


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(4, 4), "a projection is (c, h, w), several are (n, c, h, w), got (4, 4)"),
        (torch.zeros(0, 3, 4, 4), "a projection is (c, h, w), several are (n, c, h, w), got (0, 3, 4, 4)"),
        (np.zeros((32, 32, 3)), "a projection is (c, h, w), channels first, got (32, 32, 3)"),
        (torch.zeros(3, 4, 4, dtype=torch.complex64), "a picture is made of real numbers, got complex ones"),
        (
            torch.full((3, 4, 4), torch.nan),
            "a value to draw is not finite; check the projection it came from",
        ),
    ],
)
def test_what_is_no_projection_is_refused(values, message):
    with pytest.raises(BacklightError, match=f"^{re.escape(message)}$"):
        picture(values)
    with pytest.raises(BacklightError, match=r"^unknown scaling 'loud'"):
        picture(torch.zeros(3, 4, 4), "loud")
