"""DICOM files as pictures: with their rescale, their window and their polarity, in the precision that they have."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import ImageError
from backlight.images.deep import DeepPicture, Picture
from backlight.text import one_line

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
DICOM_INSTALL = "pip install 'backlight[dicom]'"
N_START = 132
"""Bytes at the start of a file that tell whether it is a DICOM file."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_GREY = {"MONOCHROME1", "MONOCHROME2"}


def is_dicom(start: bytes) -> bool:
    """Return whether a file that starts so is a DICOM file: a preamble of 128 bytes, then its mark."""
    return start[128:N_START] == b"DICM"


def has_pydicom() -> bool:
    """Return whether the package that reads DICOM files is installed."""
    return find_spec("pydicom") is not None


def dicom_picture(stream: BinaryIO | BytesIO) -> Picture:
    """Return the picture of a DICOM file.

    Args:
        stream: At its start.

    Returns:
        8-bit colour as a Pillow image, all else with its own values, after the file's rescale (of CT: Hounsfield
        units). Black and white are the ends of its first window; a `range` of the preprocessing takes others.

    Raises:
        ImageError: pydicom is not installed, or the file has no pixels, several frames, too many pixels or a
            compression that cannot be read.

    *Convention*: without a window, black and white are the ends of the bits that are stored. What lies outside of the
    window is clipped without a warning: that is what a window is for. MONOCHROME1 is turned about the middle of its
    window, so that bright is bright.

    *Source*: DICOM PS3.3, C.11.1 (modality) and C.11.2 (window: linear, exact and sigmoid).
    """
    if not has_pydicom():
        raise ImageError(f"a DICOM file, which needs a package that is not installed; run: {DICOM_INSTALL}")
    pydicom: Any = importlib.import_module("pydicom")
    head = stream.read(2048)
    if _DEFLATED in head:  # it would be unpacked before its size can be known
        raise ImageError("a deflated DICOM file; save it uncompressed")
    stream.seek(0)
    data = pydicom.dcmread(stream)
    _check(data)
    try:
        values: NDArray[Any] = data.pixel_array
    except RuntimeError as error:  # no plugin of pydicom decodes it
        raise ImageError(
            f"a DICOM file whose compression cannot be read ({one_line(error, 80)}); pydicom reads more kinds with the "
            "package pylibjpeg"
        ) from error
    kind = str(data.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        values = pydicom.pixels.apply_color_lut(values, data)
    if values.ndim == 3:
        if values.dtype == np.uint8:
            return Image.fromarray(np.ascontiguousarray(values))
        return DeepPicture(np.ascontiguousarray(values), (0, 2 ** (8 * values.dtype.itemsize) - 1))
    if kind not in _GREY:
        raise ImageError(
            f"a DICOM file of the kind {kind[:40]!r}, which is not read; save it as RGB or MONOCHROME2"
        )
    return _grey(pydicom, data, values, kind == "MONOCHROME1")


def _check(data: Any) -> None:
    """Refuse what is no single picture, before its pixels are decoded."""
    if "PixelData" not in data or "Rows" not in data or "Columns" not in data:
        raise ImageError("a DICOM file without pixels")
    n_frames = int(data.get("NumberOfFrames", 1) or 1)
    if n_frames > 1:
        raise ImageError(f"a DICOM file of {n_frames} frames; save each as a file of its own")
    height, width, limit = int(data.Rows), int(data.Columns), Image.MAX_IMAGE_PIXELS
    if height < 1 or width < 1:
        raise ImageError(f"no pixels: {height} x {width}")
    if limit is not None and height * width > limit:
        raise ImageError(
            f"too large: {height} x {width} = {height * width} pixels, the limit is {limit} "
            "(PIL.Image.MAX_IMAGE_PIXELS)"
        )


def _grey(pydicom: Any, data: Any, stored: NDArray[Any], is_inverted: bool) -> Picture:
    values = np.asarray(pydicom.pixels.apply_modality_lut(stored, data), np.float64)
    window = _window(data)
    if "VOILUTSequence" in data and window is None:
        values = np.asarray(pydicom.pixels.apply_voi_lut(values.astype(np.int32), data), np.float64)
        low, high = 0.0, float(2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif window is None:
        low, high = _stored_ends(pydicom, data)
    else:
        centre, width, function = window
        if function == "SIGMOID":
            values, low, high = 1 / (1 + np.exp(-4 * (values - centre) / width)), 0.0, 1.0
        else:
            # LINEAR counts whole levels: its ends are half a level further in
            half = (width if function == "LINEAR_EXACT" else max(width - 1, 1e-6)) / 2
            middle = centre if function == "LINEAR_EXACT" else centre - 0.5
            low, high = middle - half, middle + half
    if is_inverted:
        values = low + high - values
    return DeepPicture(values.astype(np.float32), (low, high), clips=True)


def _window(data: Any) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window; None where the file has none."""
    found = []
    for key in ("WindowCenter", "WindowWidth"):
        value = data.get(key)
        several = isinstance(value, list | tuple) or hasattr(value, "__iter__")
        found.append(value[0] if several and len(value) else value)
    if None in found or "" in found or float(found[1]) <= 0:
        return None
    return float(found[0]), float(found[1]), str(data.get("VOILUTFunction") or "LINEAR")


def _stored_ends(pydicom: Any, data: Any) -> tuple[float, float]:
    """Return the ends of what can be stored, rescaled."""
    n_bits, is_signed = int(data.BitsStored), bool(data.get("PixelRepresentation", 0))
    ends = (-(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1) if is_signed else (0, 2**n_bits - 1)
    rescaled = np.asarray(pydicom.pixels.apply_modality_lut(np.array(ends, np.int64), data), np.float64)
    return float(rescaled.min()), float(rescaled.max())
