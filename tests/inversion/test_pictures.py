"""The pictures of inversions: what is drawn where, and the animation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError, StorageError
from backlight.geometry import Box
from backlight.inversion import CodeSpread, InversionConfig, animate, figure
from inversion.made import BLUE, GREEN, GREY, RED, result


def squares(picture: Image.Image) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return row, column and colour of each flat square of the figure, in reading order."""
    values = np.asarray(picture)
    found = []
    for colour in (GREEN, RED, BLUE, GREY):
        mask = (values == colour).all(2)
        tops = np.flatnonzero(mask.any(1) & ~np.roll(mask.any(1), 1))
        for top in tops:
            lefts = np.flatnonzero(mask[top] & ~np.roll(mask[top], 1))
            found += [(int(top), int(left), colour) for left in lefts]
    return sorted(found)


def test_several_layers_follow_the_original() -> None:
    found = squares(figure([result("relu1"), result("relu2"), result("fc")]))
    assert [colour for *_, colour in found] == [GREEN, RED, RED, RED]


def test_restarts_stand_beside_the_original() -> None:
    found = squares(figure([result(restarts=3)]))
    assert [colour for *_, colour in found] == [GREEN, RED, BLUE, GREY]


def test_with_restarts_each_layer_has_a_row() -> None:
    found = squares(figure([result("relu1", 2), result("relu2", 2)]))
    assert [colour for *_, colour in found] == [GREEN, RED, BLUE] * 2
    assert len({top for top, *_ in found}) == 2


def test_each_of_several_images_has_a_row_with_its_original() -> None:
    first = result()
    second = replace(first, title="dog.jpg", original=np.full((40, 40, 3), BLUE, np.uint8))
    found = squares(figure([first, second]))
    assert [colour for *_, colour in found] == [GREEN, RED, BLUE, RED]
    assert found[0][0] == found[1][0] < found[2][0] == found[3][0]


def test_the_figure_says_what_the_errors_are() -> None:
    """The legend is drawn text, so what must differ is the picture."""
    plain = result()
    normalised = replace(plain, spread=CodeSpread(9, 4.0, 20.0))
    others = replace(plain, labels=np.array([1]))
    pictures = [
        figure([own]).tobytes() for own in (plain, normalised, others, replace(plain, goal="caricature"))
    ]
    assert len(set(pictures)) == 4
    assert plain.relative_errors[0] == pytest.approx(0.1)
    assert normalised.normalised_errors == pytest.approx([0.1 * 2 / 4])
    assert normalised.squared_errors == pytest.approx([0.01 * 4 / 20])


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_the_animation_ends_with_what_was_found(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"way{suffix}"
    animate([result("relu1", frames=4), result("relu2", frames=2)], path)
    with Image.open(path) as film:
        assert film.n_frames == 4
        colours, feet = [], []
        for i in range(4):
            film.seek(i)
            frame = np.asarray(film.convert("RGB")).astype(int)
            colours.append(int(abs(frame - np.array(RED)).sum(2).min()))
            feet.append(int(frame[-40:].min()))
        if suffix == ".gif":
            last_pause = film.info["duration"]
            film.seek(1)
            assert last_pause > 5 * film.info["duration"]
    assert colours[0] > 60
    assert colours[3] < 40
    assert min(feet[:3]) > 240, "no errors are told, so no legend"
    assert feet[3] < 200


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("length", range(9, 16))
def test_frames_have_one_size_where_their_words_need_another_line(
    suffix: str, length: int, tmp_path: Path
) -> None:
    own = replace(
        result(frames=3), title="x" * length + ".jpg", frame_steps=np.array([1, 10, 1000], np.int64)
    )
    animate([own], tmp_path / f"way{suffix}")
    with Image.open(tmp_path / f"way{suffix}") as film:
        assert film.n_frames == 3
        assert film.size == figure([own]).size


def test_what_cannot_be_shown_or_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="at least one inversion"):
        figure([])
    with pytest.raises(BadInputError, match=r"as \.webp or \.gif, got"):
        animate([result(frames=2)], tmp_path / "way.mp4")
    with pytest.raises(
        BadInputError,
        match=r"no intermediate pictures were kept; ask for them with InversionConfig\(frames=40\)",
    ):
        animate([result()], tmp_path / "way.gif")
    with pytest.raises(StorageError, match="cannot write"):
        animate([result(frames=2)], tmp_path / "nowhere" / "way.gif")


def test_the_figures_name_the_maps_and_the_centre_that_are_matched() -> None:
    whole = result()
    part = replace(whole, config=InversionConfig(channels=(7, 3, 4, 5), centre=5))
    one = replace(whole, config=InversionConfig(channels=(3,), box=Box(1, 2, 4, 3)))
    assert part.config.matched == "feature maps 3-5, 7, in the central 5 x 5 units"
    assert one.config.matched == "feature map 3, in rows 1-3, columns 2-2"
    assert f"Only {part.config.matched}." in " ".join(part.plot().get_supxlabel().split())
    assert "Only" not in whole.plot().get_supxlabel()
    named, plain = figure([part]), figure([whole])
    assert named.height > plain.height, "more words, on another line, above the same pictures"
    assert [colour for _, _, colour in squares(named)] == [colour for _, _, colour in squares(plain)]
