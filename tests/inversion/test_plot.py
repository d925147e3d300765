"""The figure of an inversion: its pictures, a curve for each term, and a note of how close it came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from backlight.inversion import CodeSpread
from backlight.inversion.plot import draw
from backlight.render.plots import Plot
from inversion.made import GREEN, RED, result


def title_of(axes: Axes) -> str:
    """Return the title of axes, wherever it stands above them."""
    return "".join(axes.get_title(loc=place) for place in ("left", "center", "right"))


def note_of(figure: Plot) -> str:
    """Return the texts of the figure, its title among them, as one line."""
    return " ".join(" ".join(own.get_text() for own in figure.texts).split())


def test_the_original_and_what_was_found_stand_before_the_curves() -> None:
    figure = draw(result())
    first, second, curves = figure.axes
    assert [title_of(own) for own in (first, second)] == ["original", "found"]
    for axes, colour in ((first, GREEN), (second, RED)):
        assert (np.asarray(axes.images[0].get_array()) == colour).all()
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("step (one forward and one backward pass)", "cost")


def test_a_code_without_an_image_has_no_original() -> None:
    figure = draw(replace(result(), original=np.zeros(0, np.uint8)))
    assert [title_of(axes) for axes in figure.axes] == ["found", "what each term costs"]


def test_each_term_has_its_mean_and_restarts_are_thin_lines() -> None:
    curves = np.arange(1, 31, dtype=np.float32).reshape(2, 5, 3)
    own = replace(
        result(restarts=3), terms=("objective", "tv"), curves=curves, goals=np.array([3.0, 1.0, 2.0])
    )
    figure = draw(own)
    assert title_of(figure.axes[1]) == "best of the restarts"
    assert (np.asarray(figure.axes[1].images[0].get_array()) == own.pictures[1]).all()
    axes = figure.axes[-1]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["objective", "tv"]
    means = [line for line in axes.lines if not line.get_label().startswith("_")]
    for line, term in zip(means, curves, strict=True):
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(line.get_ydata(), term.mean(1))
    assert len(axes.lines) == 2 + 2 * 3


def test_the_note_gives_the_errors_that_there_are() -> None:
    note = note_of(draw(result()))
    assert "SmallNet · relu1 · cat.jpg" in note
    errors = "Relative error of the picture 10.0%; of the image before rounding 10.0%"
    assert f"Recipe default, 5 steps (finished). {errors}; the network's answer is the same." in note
    known = replace(result(), spread=CodeSpread(3, 4.0, 16.0), labels=np.array([9]))
    # the squared error: 0.01 · 2² / 16
    text = "Relative error of the picture 10.0%, normalised 5.0% (squared form 0.2%)"
    found = note_of(draw(known))
    assert text in found
    assert "the network's answer is another." in found


def test_goals_without_an_error_have_their_inner_product_and_a_scale_for_both_signs() -> None:
    figure = draw(replace(result(), goal="maximise", goals=np.array([-1.5]), curves=-result().curves))
    assert "Inner product with what is sought: 1.5." in note_of(figure)
    assert figure.axes[-1].get_yscale() == "symlog"
    assert draw(result()).axes[-1].get_yscale() == "log"
