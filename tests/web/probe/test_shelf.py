"""The shelf: an image comes as a build would read it, and only the latest are kept."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.atlas import Atlas
from backlight.errors import BadInputError, ImageError
from backlight.images import open_images
from backlight.web.probe import shelf as module
from backlight.web.probe.shelf import Shelf


def png(seed: int, size: tuple[int, int] = (16, 12)) -> bytes:
    """Return a picture of noise."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def shelf(atlas: Atlas) -> Shelf:
    """A shelf without the atlas's images."""
    return Shelf(atlas, None, Lock())


def test_an_upload_is_what_a_build_would_read(atlas: Atlas, shelf: Shelf) -> None:
    content = png(0)
    held = shelf.put(content, "../../etc/holiday <b>.png")
    assert torch.equal(held.input, atlas.preprocessing.tensor(content))
    assert np.array_equal(held.picture, np.asarray(atlas.preprocessing.picture(content).convert("RGB")))
    assert held.name == "holiday <b>.png"
    assert shelf.get(held.id) is held
    assert shelf.put(content, "again.png").id == held.id
    assert shelf.put(png(1), "other.png").id != held.id


@pytest.mark.parametrize("content", [b"", b"not a picture", png(0)[:200], b"\x93NUMPY", b"%PDF-1.4"])
def test_what_is_no_picture_is_refused(shelf: Shelf, content: bytes) -> None:
    with pytest.raises(ImageError):
        shelf.put(content, "a.png")


def test_a_picture_of_too_many_pixels_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="pixels"):
        shelf.put(png(0), "a.png")


def test_an_image_of_the_atlas_is_the_original_where_it_is_at_hand(atlas: Atlas, pictures: Path) -> None:
    shelf = Shelf(atlas, open_images(pictures), Lock())
    number = next(iter(atlas.images))
    held = shelf.get(f"atlas-{number}")
    assert torch.equal(held.input, atlas.preprocessing.tensor(pictures / atlas.images[number].path))
    assert (held.name, held.note) == (Path(atlas.images[number].path).name, "")


def test_or_else_what_the_atlas_keeps_and_it_says_so(atlas: Atlas, shelf: Shelf) -> None:
    kept = [i for i in atlas.images if atlas.images.whole(i) is not None]
    held = shelf.get(f"atlas-{kept[0]}")
    whole = atlas.images.whole(kept[0])
    assert whole is not None
    assert np.array_equal(held.picture, np.asarray(whole))
    assert "compressed" in held.note


@pytest.mark.parametrize("name", ["atlas-999", "atlas-99999999999999999999", "atlas-", "nothing", ""])
def test_what_is_not_there_is_said(shelf: Shelf, name: str) -> None:
    with pytest.raises(BadInputError, match=r"has no image 999|no longer kept"):
        shelf.get(name)


def test_only_the_latest_are_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 2)
    first, second = (shelf.put(png(i), f"{i}.png").id for i in range(2))
    shelf.get(first)
    third = shelf.put(png(2), "2.png").id
    assert shelf.get(first).id == first
    assert shelf.get(third).id == third
    with pytest.raises(BadInputError, match="no longer kept here; choose it again"):
        shelf.get(second)
