"""What an occlusion study shows: other images, pictures, the figure, its files; and the command."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import nn

import backlight
from backlight.cli.occlude import occlude
from backlight.errors import AtlasError, BadInputError, UnknownLayerError
from backlight.geometry import Box
from backlight.images import SequenceSource
from backlight.studies.occlusion import Occlusion, OcclusionConfig, run
from backlight.studies.shown import inputs_of
from conftest import SmallNet, make_pictures
from studies.finder import (
    PATTERN,
    SQUARES,
    finder,
    pattern_pixels,
    picture,
)

# --- other images -------------------------------------------------------------------------------------------------


def test_other_images_show_the_maps_strongest_unit_of_each() -> None:
    net, elsewhere = finder(), Box(0, 20, PATTERN, 20 + PATTERN)
    result = run(net, picture(1), "relu", SQUARES, others=[picture(2, elsewhere), picture(3)])
    assert result.other_boxes.tolist() == [[0, 20, 5, 25], [18, 7, 23, 12]]
    np.testing.assert_array_equal(result.other_patches, np.stack([pattern_pixels(), pattern_pixels()]))
    unit = backlight.Unit("relu", 1, 0, 20)
    whole = backlight.project(net, [picture(2, elsewhere)], [unit])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result.other_projections[0], whole[elsewhere.slices()], atol=1e-6)
    assert result.other_names == ("image 0", "image 1")
    assert "in other images" in result.plot().axes[2].get_title("left")


def test_an_atlas_gives_the_maps_other_hits_without_the_image_itself(tmp_path: Path) -> None:
    net, pictures = (
        finder(),
        [picture(seed, Box(row, 3, row + 5, 8)) for seed, row in enumerate((1, 9, 22))],
    )
    atlas = backlight.build(
        net, SequenceSource(pictures), tmp_path / "a.atlas", ["relu"], rules=backlight.GUIDED
    )
    result = run(net, pictures[1], "relu", OcclusionConfig(size=7, stride=5, n_others=5), others=atlas)
    assert sorted(result.other_boxes[:, 0].tolist()) == [1, 22]
    assert result.rules == backlight.GUIDED
    hits = [hit for hit in atlas["relu"][1].hits if hit.row != 9]
    np.testing.assert_array_equal(result.other_projections, np.stack([h.projection_values for h in hits]))
    stranger = run(net, picture(9), "relu", OcclusionConfig(size=7, stride=5, n_others=2), others=atlas)
    assert len(stranger.other_names) == 2


def test_of_an_atlas_the_strongest_of_its_own_maps_is_watched_and_the_stronger_one_named(
    tmp_path: Path,
) -> None:
    net, source = finder(), SequenceSource([picture(1), picture(2)])
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu"], maps=[0, 2])
    result = run(net, picture(1), "relu", SQUARES, others=atlas)
    (maps,) = net.features([net.layer("relu")])(net.prepare([picture(1)]))
    peaks = maps[0].amax((1, 2)).tolist()
    assert max(peaks) == peaks[1], "the strongest map is not in the atlas"
    best = max((0, 2), key=lambda channel: peaks[channel])
    assert (result.watched.unit.channel, result.watched.stronger_channel) == (best, 1)
    assert result.summary()["stronger_channel"] == 1
    assert "Map 1 is stronger in this image" in " ".join(result.plot().get_supxlabel().split())
    result.save(tmp_path / "r")
    assert Occlusion.load(tmp_path / "r").watched == result.watched
    whole = backlight.build(net, source, tmp_path / "b.atlas", ["relu"])
    assert run(net, picture(1), "relu", SQUARES, others=whole).watched.stronger_channel is None


def test_an_atlas_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    net, source = finder(), SequenceSource([picture(1), picture(2)])
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu"], maps=[0, 2])
    with pytest.raises(
        BadInputError, match=r"map 1 of layer 'relu' is not projected in a.atlas; .* among 0, 2"
    ):
        run(net, picture(1), "relu", OcclusionConfig(size=7, stride=3, channel=1), others=atlas)
    with pytest.raises(BadInputError, match=r"a\.atlas was built with another model or other weights"):
        run(finder(lambda x: 2 * x), picture(1), "relu", SQUARES, others=atlas)
    with pytest.raises(UnknownLayerError, match=r"a\.atlas has no layer 'match'"):
        run(net, picture(1), "match", SQUARES, others=atlas)
    config = OcclusionConfig(size=7, channel=0, rules=backlight.GUIDED)
    with pytest.raises(
        BadInputError, match="holds deconvnet projections of layer 'relu'; leave the rules out"
    ):
        run(net, picture(1), "relu", config, others=atlas)


# --- pictures, files ----------------------------------------------------------------------------------------------


def test_a_picture_is_shown_as_the_network_sees_it_and_a_tensor_from_black_to_white() -> None:
    net = finder()
    batch, (shown,) = inputs_of(net, picture(1))
    np.testing.assert_array_equal(shown, np.asarray(picture(1)))
    _, (drawn,) = inputs_of(net, batch)
    assert (drawn.min(), drawn.max()) == (0, 255)
    np.testing.assert_allclose(drawn, shown, atol=1)  # the pattern has both
    grey = backlight.capture(nn.Sequential(nn.Conv2d(2, 2, 1)), (2, 4, 4))
    _, (drawn,) = inputs_of(grey, torch.zeros(2, 4, 4))
    assert drawn.shape == (4, 4, 3)
    assert (drawn == 128).all()


def test_a_result_comes_back_from_its_files(tmp_path: Path) -> None:
    names = ("with", "without", "c", "d")
    config = OcclusionConfig(
        size=7, stride=3, channel=1, row=18, col=7, class_names=names, fill="noise", seed=3
    )
    first, again = (run(finder(), picture(1), "relu", config, others=[picture(2)]) for _ in range(2))
    first.save(tmp_path / "found")
    back = Occlusion.load(tmp_path / "found")
    for name, value in vars(first).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, name), value)
            np.testing.assert_array_equal(getattr(again, name), value)
    assert (back.config, back.watched, back.rules) == (config, first.watched, backlight.DECONVNET)
    assert back.summary() == first.summary()
    assert back.summary()["class"]["name"] == "with"
    assert back._repr_png_().startswith(b"\x89PNG")
    titles = [axes.get_title("left")[:2] for axes in back.plot().axes]
    assert [t for t in titles if t] == ["a ", "b ", "b′", "c ", "d ", "e "]
    other = run(finder(), picture(1), "relu", OcclusionConfig(size=7, stride=3, fill="noise", seed=4))
    assert not np.array_equal(other.map_sums, first.map_sums)


def test_the_legend_names_six_labels_and_counts_the_rest() -> None:
    from backlight.studies.occlusion.plot import legend_entries

    result = run(finder(), picture(1), "relu", SQUARES)
    object.__setattr__(
        result, "labels", np.repeat(np.arange(10), [30, 20, 15, 10, 10, 5, 4, 3, 2, 1]).reshape(10, 10)
    )
    legend = legend_entries(result)
    assert [index for index, _, _ in legend] == [0, 1, 2, 3, 4, 5, None]
    assert legend[0][1] == "class 0 30%"
    assert legend[-1][1] == "4 other 10%"
    assert len({colour for _, _, colour in legend}) == 7


def test_cells_stand_at_the_middles_of_the_squares() -> None:
    result = run(finder(), picture(1), "relu", OcclusionConfig(size=8, stride=10))
    heat = result.plot().axes[1].collections[0]
    columns = heat.get_coordinates()[0, :, 0]
    assert result.cols.tolist() == [0, 10, 20, 24]
    assert columns.tolist() == [-1.5, 8.5, 18.5, 25.5, 29.5]  # the middles are 3.5, 13.5, 23.5 and 27.5


def test_an_unfinished_atlas_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Box(1, 3, 1 + PATTERN, 3 + PATTERN)
    net, source = finder(), SequenceSource([picture(1, elsewhere), picture(2, elsewhere)])

    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    monkeypatch.setattr(import_module("backlight.atlas.executing"), "groups_of", stop)
    with pytest.raises(StopError):
        backlight.build(net, source, tmp_path / "a.atlas", ["relu"])
    with pytest.raises(AtlasError, match="is not projected yet; call build again as before"):
        run(net, picture(3), "relu", SQUARES, others=backlight.open_atlas(tmp_path / "a.atlas"))


# --- the command --------------------------------------------------------------------------------------------------

COMMAND = ("--layer", "relu2", "--weights", "w.pt", "--size", "32", "--square", "8", "--stride", "6")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return what runs `occlude` in a folder with a model, its weights, names of its classes, and pictures."""
    tests = str(Path(__file__).parents[1])
    (tmp_path / "mine.py").write_text(
        f"import sys\n\nsys.path.insert(0, {tests!r})\nfrom conftest import SmallNet\n\n\n"
        "def make():\n    return SmallNet()\n"
    )
    torch.save(SmallNet().state_dict(), tmp_path / "w.pt")
    (tmp_path / "names.txt").write_text("ant [a]\nbee\ncow\ndog\nelk\n\n")
    make_pictures(tmp_path / "pictures", 4)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(occlude)
    return lambda *arguments: app(["mine.py:make", "pictures/a/000.png", *arguments], standalone_mode=False)


def test_the_command_writes_the_figure_and_the_numbers_and_says_what_it_found(
    command: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    others = ("--other", "pictures/a/002.png", "--other", "pictures/b/001.png")
    command(*COMMAND, *others, "--labels", "names.txt", "--class", "0", "-o", "f.png", "--save", "numbers")
    printed = " ".join(capsys.readouterr().out.split())
    result = Occlusion.load("numbers")
    assert (
        f"relu2, map {result.watched.unit.channel}, summed: {result.watched.map_sum:.4g}, down to" in printed
    )
    assert "probability of ant [a] (class given): " in printed
    assert "answers over 25 positions: " in printed
    assert result.other_names == ("pictures/a/002.png", "pictures/b/001.png")
    assert Image.open("f.png").width > 1000
    command(*COMMAND, "--channel", "2", "-o", "f.svg")
    assert "(the network's own answer)" in capsys.readouterr().out
    assert "<svg" in Path("f.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "f.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'f.gif'"),
        (("--save", "nowhere/f"), "no such folder: 'nowhere'; make it first"),
        (
            ("--fill", "pinkish"),
            "a fill is mean, blur, noise, a number, or a colour such as 'black' or '#808080', got",
        ),
        (("--class", "5"), "class 5 is out of range: SmallNet has 5 classes, 0 to 4"),
        (("--labels", "none.txt"), r"cannot read the labels 'none.txt' \(No such file or directory\)"),
        (("--labels", "w.pt"), r"cannot read the labels 'w.pt' \(it is not text\)"),
        (("--labels", "mine.py"), "SmallNet has 5 classes, got 8 names; give one name for each class"),
        (("--rules", "magic"), "rule set 'magic' does not exist"),
        (
            ("--atlas", "a.atlas", "--other", "pictures/a/002.png"),
            "by --atlas or by --other; choose one of them",
        ),
        (("--square", "40"), "the side of the square must be 1 to 32 pixels"),
    ],
)
def test_bad_input_to_the_command_is_one_line(
    command: Callable[..., object], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        command(*COMMAND, *arguments)
    assert len(str(caught.value).splitlines()) == 1
