"""Plots in one style: texts that fit, colours by name, and what a notebook shows."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from backlight.render.plots import (
    COLOURS,
    NOTE_POINTS,
    TITLE_POINTS,
    colours,
    hold_all,
    line_height,
    new_plot,
    shortened,
    shortened_apart,
    shortened_end,
    width_of,
    without_axes,
    wrapped,
)


def test_axes_come_row_by_row_and_the_style_stays_inside() -> None:
    before = dict(matplotlib.rcParams)
    figure, axes = new_plot(2, 3, (6.0, 4.0), "a title", "a note")
    assert [len(row) for row in axes] == [3, 3]
    assert figure.axes == [own for row in axes for own in row]
    assert (figure.get_suptitle(), figure.get_supxlabel()) == ("a title", "a note")
    assert not axes[0][0].spines["top"].get_visible()
    assert dict(matplotlib.rcParams) == before


def test_a_figure_grows_by_the_lines_into_which_its_texts_are_broken() -> None:
    words = "some more words that do not fit " * 3
    plain, _ = new_plot(1, 1, (3.0, 2.0), "a title", "a note")
    assert tuple(plain.get_size_inches()) == (3.0, 2.0)
    figure, _ = new_plot(1, 1, (3.0, 2.0), words, words)
    n_title, n_note = (text.count("\n") for text in (figure.get_suptitle(), figure.get_supxlabel()))
    assert n_title > n_note > 0, "the title's font is larger"
    grown = n_title * line_height(TITLE_POINTS) + n_note * line_height(NOTE_POINTS)
    assert figure.get_figheight() == pytest.approx(2.0 + grown)


def test_a_width_is_that_of_the_widest_line_and_grows_with_the_font() -> None:
    assert width_of("a\nwide line\nb", 9.0) == width_of("wide line", 9.0)
    assert width_of("wide line", 18.0) == pytest.approx(2 * width_of("wide line", 9.0), rel=0.02)
    assert width_of("", 9.0) == 0


def test_lines_are_broken_at_blanks_and_longer_words_anywhere() -> None:
    text = wrapped("one two three\nfour", 0.5, 9.0)
    assert text.replace("\n", " ").split() == ["one", "two", "three", "four"]
    assert all(width_of(line, 9.0) <= 0.5 for line in text.split("\n"))
    word = wrapped("unbreakable" * 3, 0.5, 9.0)
    assert word.replace("\n", "") == "unbreakable" * 3
    assert all(width_of(line, 9.0) <= 0.5 for line in word.split("\n"))
    narrow = wrapped("abc", 0.001, 9.0)
    assert narrow == "a\nb\nc", "a piece has at least one letter"


def test_names_that_do_not_fit_keep_the_end_or_the_beginning() -> None:
    name = "features.denseblock4.denselayer16.relu2"
    end, start = shortened(name, 1.2, 9.0), shortened_end(name, 1.2, 9.0)
    assert name.endswith(end.removeprefix("…"))
    assert name.startswith(start.removesuffix("…"))
    for cut in (end, start):
        assert 5 < len(cut) < len(name)
        assert width_of(cut, 9.0) <= 1.2
    assert shortened(name, 9.0, 9.0) == shortened_end(name, 9.0, 9.0) == name
    assert shortened(name, 0.0, 9.0) == shortened_end(name, 0.0, 9.0) == "…"
    assert (
        shortened_end("standard poodle, a dog", width_of("standard poodle, …", 9.0), 9.0)
        == "standard poodle…"
    )


def test_names_are_cut_where_they_are_alike() -> None:
    begins = ["features.1", "features.4.expand3x3_activation", "features.10.expand3x3_activation"]
    assert len({shortened(name, 1.2, 9.0) for name in begins}) == 2
    cut = shortened_apart(begins, 1.2, 9.0)
    assert cut == [shortened_end(name, 1.2, 9.0) for name in begins]
    assert len(set(cut)) == 3
    ends = ["features.denseblock4.denselayer15.relu2", "features.denseblock4.denselayer16.relu2"]
    assert shortened_apart(ends, 1.2, 9.0) == [shortened(name, 1.2, 9.0) for name in ends]
    alike = ["a" * 60 + "b" + "a" * 60, "a" * 60 + "c" + "a" * 60]
    assert shortened_apart(alike, 1.2, 9.0) == [shortened(name, 1.2, 9.0) for name in alike]


def test_each_name_has_a_colour_and_after_the_last_they_begin_again() -> None:
    names = [f"name {i}" for i in range(len(COLOURS) + 2)]
    found = colours(names)
    assert list(found) == names
    assert list(found.values()) == [*COLOURS, *COLOURS[:2]]
    assert len(set(COLOURS)) == len(COLOURS)


def test_limits_hold_the_least_range_and_all_that_is_drawn_in_any_of_the_axes() -> None:
    _, (axes,) = new_plot(1, 3, (6.0, 2.0))
    axes[0].fill_between([0, 1], [0.4, -0.5], [0.6, 1.5])
    axes[1].plot([0.5], [2.0], "o")
    hold_all(axes, x=(0.2, 0.8), y=(0.0, 1.0))
    for one in axes:
        assert one.get_xlim() == pytest.approx((-0.03, 1.03))
        assert one.get_ylim() == pytest.approx((-0.575, 2.075))
    hold_all(axes[1:2], x=(0.2, 0.8), y=(3.0, 1.0), room=0.0)
    assert axes[1].get_xlim() == (0.2, 0.8)
    assert axes[1].get_ylim() == (3.0, 1.0), "the larger value at the bottom"
    hold_all([axes[2]], y=(0.0, 1.0))
    assert axes[2].get_xlim() == pytest.approx((-0.03, 1.03)), "as it was"
    assert axes[2].get_ylim() == (0.0, 1.0), "nothing is drawn"


def test_a_marker_on_the_end_of_a_range_is_not_cut_in_half() -> None:
    _, ((axes,),) = new_plot(1, 1, (2.0, 2.0))
    axes.plot([0.0, 1.0], [0.5, np.nan], "o")
    hold_all([axes], x=(0.0, 2.0), y=(0.0, 1.0))
    assert axes.get_xlim() == pytest.approx((-0.06, 2.0))
    assert axes.get_ylim() == (0.0, 1.0)


def test_a_notebook_shows_the_figure_as_a_picture_with_dollars_as_they_are() -> None:
    figure, ((axes,),) = new_plot(1, 1, (2.0, 1.0), "costs $\\nosuch$")
    without_axes(axes)
    shown = Image.open(io.BytesIO(figure._repr_png_()))
    assert shown.format == "PNG"
    assert shown.size == (220, 110)
    below_title = np.asarray(shown.convert("L"))[50:]
    assert (below_title == 255).all(), "no frame, ticks or grid"
