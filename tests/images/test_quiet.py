"""What Pillow warns about and logs stays off the screen, and nothing else does."""

import io
import logging
import struct
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from backlight.errors import ImageError
from backlight.images import decode
from backlight.images.quiet import quiet_pillow
from images.pictures import PIXELS, encoded

pytestmark = pytest.mark.usefixtures("no_warning")


def warning_tiff():
    """Return a TIFF that Pillow warns about: a tag of one value holds two."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 1
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", tiffinfo=tags))
    entry = struct.pack("<HHL", 0x0112, 3, 1)
    assert data.count(entry) == 1
    at = data.index(entry)
    data[at : at + 8] = struct.pack("<HHL", 0x0112, 3, 2)
    return bytes(data)


def test_pillow_warns_about_this_and_decode_does_not():
    data = warning_tiff()
    with pytest.warns(UserWarning, match="Metadata Warning"):
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(np.asarray(decode(data)), PIXELS)


def test_what_pillow_logs_about_a_damaged_file_is_not_printed(monkeypatch, capsys):
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF"))
    at = data.index(struct.pack("<HHL", 277, 3, 1)) + 8  # samples per pixel
    data[at : at + 2] = struct.pack("<H", 999)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(ImageError):
        decode(bytes(data))
    assert capsys.readouterr().err == ""


def test_others_warnings_pass_and_the_filters_are_put_back():
    before = list(warnings.filters)
    with quiet_pillow(), pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with quiet_pillow():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with quiet_pillow():
        pass
    held = len(warnings.filters)
    leave.set()
    thread.join()
    assert held == len(before) + 1, "the first to leave took the filter from the other"
    assert list(warnings.filters) == before
