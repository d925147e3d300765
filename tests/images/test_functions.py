"""A function as the preprocessing: what the network sees is what it gives, and an atlas knows it again."""

import json
import pickle
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

import backlight
from backlight.errors import AtlasError, BadInputError, ImageError
from backlight.images import FunctionPreprocessing, Preprocessing, preprocessing_from_dict, preprocessing_of
from backlight.studies.correspondence.parts import seen_box
from backlight.web import pages
from backlight.web.probe.shelf import Shelf
from backlight.web.views import Views
from cli.running import run
from conftest import SmallNet, make_pictures
from images.pictures import PICTURES, TWELVE, same_bits

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def steps(*more, size=32):
    made = [v2.Resize(36), v2.CenterCrop(size), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*made, v2.Normalize(MEAN, STD), *more])


def named(picture):
    return torch.full((1, 4, 4), np.asarray(picture).mean() / 255)


def test_the_network_sees_what_the_function_gives_and_people_see_it_undone():
    function = steps()
    made, plain = FunctionPreprocessing.of(function), Preprocessing(36, (32, 32), MEAN, STD)
    assert (made.channels, made.crop, made.mean, made.std) == (3, (32, 32), MEAN, STD)
    for picture in PICTURES:
        same_bits(made.tensor(picture), function(picture))
        assert torch.allclose(made.tensor(picture), plain.tensor(picture), atol=1e-6)
        # 8 bits, undone: the very picture that torchvision resized
        assert np.array_equal(np.asarray(made.picture(picture)), np.asarray(plain.picture(picture)))
    assert made.batch([]).shape == (0, 3, 32, 32)


def test_mean_and_deviation_are_found_or_given():
    assert FunctionPreprocessing.of(torch.nn.Sequential(steps())).mean == MEAN
    hidden = FunctionPreprocessing.of(lambda picture: steps()(picture), MEAN, STD)
    assert (hidden.mean, hidden.std) == (MEAN, STD)
    assert np.array_equal(
        *(np.asarray(own.picture(PICTURES[0])) for own in (hidden, FunctionPreprocessing.of(steps())))
    )


def test_grey_pictures():
    made = FunctionPreprocessing.of(named, mode="L")
    assert made.channels == 1
    assert made.picture(Image.new("RGB", (9, 9), "white")).getpixel((0, 0)) == 255
    assert made.picture(TWELVE).mode == "L"
    assert made.to_dict()["mode"] == "L"


def test_a_mode_that_is_none():
    with pytest.raises(BadInputError, match="mode is 'RGB' or 'L', not 'CMYK'"):
        FunctionPreprocessing.of(named, mode="CMYK")


def test_a_picture_that_the_function_refuses_is_one_skipped_image():
    def picky(picture):
        if picture.width < 5:
            raise ValueError("too\nsmall")
        return torch.zeros(3, 4, 4 if picture.width > 10 else 5)

    made = FunctionPreprocessing.of(picky)
    with pytest.raises(ImageError, match=r"^it failed: ValueError: too small$"):
        made.picture(Image.new("RGB", (4, 4)))
    with pytest.raises(
        ImageError, match=r"^the function gave 3x4x5 of a picture of 8 x 9, and 3x4x4 of others$"
    ):
        made.picture(Image.new("RGB", (9, 8)))
    with pytest.raises(BadInputError, match="was not made by this preprocessing; make it with its `picture`"):
        made.normalise([Image.new("RGB", (4, 4))])


def test_functions_are_told_apart_and_found_again():
    made, again = FunctionPreprocessing.of(steps()), FunctionPreprocessing.of(steps())
    assert made == again
    assert hash(made) == hash(again)
    assert "CenterCrop" in made.description
    others = [steps(v2.Identity()), steps(size=31), lambda picture: steps()(picture).flip(2)]
    assert all(FunctionPreprocessing.of(other, MEAN, STD) != made for other in others)
    assert FunctionPreprocessing.of(named).description.endswith("images.test_functions.named")
    assert " at 0x" not in FunctionPreprocessing.of(v2.Compose([v2.Lambda(lambda p: named(p))])).description


def test_an_atlas_holds_what_tells_it_from_others_but_not_the_function():
    made = FunctionPreprocessing.of(steps())
    read = preprocessing_from_dict(json.loads(json.dumps(made.to_dict())))
    assert read == made
    assert isinstance(read, FunctionPreprocessing)
    assert read.function is None
    with pytest.raises(
        BadInputError, match=r"built with a Python function as its prep.* \(Compose.*from Python"
    ):
        read.picture(PICTURES[0])
    plain = Preprocessing.default(3, 8)
    assert preprocessing_from_dict(plain.to_dict()) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "x"},
        {"mode": "P"},
        {"function": "a\nb"},
        {"function": "a" * 301},
        {"more": 1},
        {"crop": [0, 1]},
    ],
)
def test_a_dict_that_to_dict_did_not_write(change):
    values = FunctionPreprocessing.of(steps()).to_dict()
    with pytest.raises(BadInputError, match=r"preprocessing by a function|crop must be"):
        preprocessing_from_dict({**values, **change})


def test_a_function_that_can_be_pickled_can_be_sent():
    sent = pickle.loads(pickle.dumps(FunctionPreprocessing.of(steps())))
    same_bits(sent.tensor(PICTURES[0]), steps()(PICTURES[0]))


def test_its_size_is_its_own():
    with pytest.raises(
        BadInputError, match=r"the size that .*images\.test_functions\.named gives is its own"
    ):
        FunctionPreprocessing.of(named).with_size(8)


def test_what_says_how_pictures_become_inputs():
    plain = Preprocessing.default(3, 8)
    assert preprocessing_of(plain) is plain
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    assert preprocessing_of(weights.transforms()) == Preprocessing.from_torchvision(weights)
    assert isinstance(preprocessing_of(named), FunctionPreprocessing)
    with pytest.raises(
        BadInputError, match="a Preprocessing or a function from a picture to a tensor, got int"
    ):
        preprocessing_of(3)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = make_pictures(tmp_path_factory.mktemp("function") / "pictures", 12)
    torch.manual_seed(0)
    model = SmallNet()
    net = backlight.capture(model, preprocessing=steps())
    path = folder.parent / "function.atlas"
    return model, folder, backlight.build(net, folder, path, ["relu2"], top=3, maps=3, compile="off"), path


def test_an_atlas_by_a_function_is_that_of_the_same_steps(built, tmp_path):
    model, folder, atlas, _ = built
    net = backlight.capture(model, preprocessing=Preprocessing(36, (32, 32), MEAN, STD))
    other = backlight.build(net, folder, tmp_path / "a.atlas", ["relu2"], top=3, maps=3, compile="off")
    for channel, feature_map in atlas["relu2"].items():
        own = [(hit.image_id, hit.row, hit.col, hit.box) for hit in feature_map.hits]
        assert own == [(hit.image_id, hit.row, hit.col, hit.box) for hit in other["relu2"][channel].hits]
        for one, two in zip(feature_map.hits, other["relu2"][channel].hits, strict=True):
            assert one.value == pytest.approx(two.value, rel=1e-5)
            assert np.array_equal(np.asarray(one.patch), np.asarray(two.patch))
    assert sum(len(own.hits) for own in atlas["relu2"].values()) > 3


def test_a_build_is_not_resumed_with_another_function(built):
    model, folder, _, path = built
    net = backlight.capture(model, preprocessing=steps(v2.Identity()))
    with pytest.raises(AtlasError, match="preprocessing"):
        backlight.build(net, folder, path, ["relu2"], top=3, maps=3, compile="off")
    again = backlight.capture(model, preprocessing=steps())
    assert backlight.build(again, folder, path, ["relu2"], top=3, maps=3, compile="off")["relu2"]


def test_a_study_on_such_an_atlas_runs_from_python(built):
    model, folder, atlas, _ = built
    net = backlight.capture(model, preprocessing=steps())
    assert backlight.studies.faithfulness.run(atlas, net, folder, layers=["relu2"]).hits_of("relu2").any()
    assert Path(atlas.path).exists()


def test_readers_say_what_it_is_and_the_command_line_where_to_go_on(built, capfd):
    _, folder, atlas, path = built
    assert "CenterCrop" in pages.about(Views(atlas)).preprocessing["Python function"]
    command = ["faithfulness", str(path), "torchvision:squeezenet1_1", str(folder)]
    assert run(*command) == 2
    assert "with a Python function as its preprocessing (Compose(" in " ".join(capfd.readouterr().err.split())


def test_a_site_takes_pictures_by_the_function_of_its_network(built):
    _, folder, atlas, _ = built
    made = FunctionPreprocessing.of(steps())
    content = (folder / "a" / "000.png").read_bytes()
    assert torch.equal(Shelf(atlas, None, Lock(), made).put(content, "a.png").input, made.tensor(content))
    with pytest.raises(BadInputError, match="with a Python function as its preprocessing"):
        Shelf(atlas, None, Lock()).put(content, "a.png")


def test_boxes_cannot_be_followed_through_a_function():
    with pytest.raises(BadInputError, match=r"boxes of a picture cannot be followed.* as a Preprocessing\("):
        seen_box(FunctionPreprocessing.of(steps()), (9, 9), backlight.Box(0, 0, 2, 2))
