"""Pictures: read once while they are needed, and no more of them held than a bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight import Preprocessing
from backlight.engines.pictures import Pictures, shown
from backlight.images import open_images


class Counting:
    """A source that counts how often each image is read."""

    def __init__(self, folder: Path) -> None:
        self._source, self.read = open_images(folder), list[int]()
        self.name, self.records = self._source.name, self._source.records

    def __len__(self) -> int:
        return len(self._source)

    def load(self, image_id: int) -> object:
        self.read.append(image_id)
        return self._source.load(image_id)

    def fingerprint(self) -> str:
        return self._source.fingerprint()


def test_the_least_recently_used_go_first(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backlight.engines.pictures._KEPT_PICTURES", 3)
    source = Counting(picture_folder)
    pictures = Pictures(source, Preprocessing.default(3, 32))
    assert list(pictures.of([4, 2, 4, 7])) == [4, 2, 7]
    assert source.read == [4, 2, 7]
    pictures.of([4, 9])  # 2 has not been asked for for longest
    pictures.of([4, 7, 9])
    assert source.read == [4, 2, 7, 9]
    pictures.of([2])
    assert source.read == [4, 2, 7, 9, 2]


def test_grey_pictures_are_shown_grey_and_others_in_colour() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert shown(Image.fromarray(values)).tolist() == values.tolist()
    assert shown(Image.new("RGB", (4, 3), "red")).shape == (3, 4, 3)
