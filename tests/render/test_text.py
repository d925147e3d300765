from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from backlight.render.text import draw_text, line_height, shorten, text_width, wrap

TEXTS = ["channel 17", "features.3.cat", "Ågjpqy|()_", "7 × 7 · Größe – ok"]


@pytest.mark.parametrize("size", [11, 12, 14, 15, 22])
@pytest.mark.parametrize("text", TEXTS)
def test_ink_lies_in_the_measured_rectangle(text, size):
    picture = Image.new("RGB", (600, 100), "white")
    draw_text(picture, 30, 50, text, size)
    rows, cols = np.nonzero((np.asarray(picture) < 255).any(2))
    assert rows.min() >= 30
    assert rows.max() < 30 + line_height(size)
    assert cols.min() >= 49
    assert cols.max() <= 50 + text_width(text, size)


def test_every_character_is_drawn_not_a_box():
    """Fails where Pillow's own font, which has no such characters, draws them all alike."""
    pictures = set()
    for character in "×–äµł":
        picture = Image.new("RGB", (30, 30), "white")
        draw_text(picture, 0, 0, character, 20)
        pictures.add(picture.tobytes())
    assert len(pictures) == 5


def test_shortened_text_fits_and_keeps_its_beginning():
    text = "layer4.2.conv3 channel 1024 with a long name"
    assert shorten(text, 12, 1000) == text
    short = shorten(text, 12, 120)
    assert text_width(short, 12) <= 120
    assert short.endswith("…")
    assert text.startswith(short[:-1])
    longer = text[: len(short)].rstrip()  # one more character than the short one has
    assert text_width(f"{longer}…", 12) > 120


def test_a_text_of_any_length_is_shortened_by_measuring_it_a_few_times(monkeypatch):
    measured = []

    def measure(text, size):
        measured.append(text)
        return text_width(text, size)

    monkeypatch.setattr(import_module("backlight.render.text"), "text_width", measure)
    assert shorten("x" * 5000, 12, 120).endswith("x…")
    assert len(measured) < 20


def test_wrapped_lines_fit_and_keep_every_word():
    text = "grey is zero and each projection is scaled by itself " * 4
    lines = wrap(text, 12, 200)
    assert max(text_width(line, 12) for line in lines) <= 200
    assert " ".join(lines).split() == text.split()
    assert len(lines) > 3
    assert wrap("", 12, 200) == []
