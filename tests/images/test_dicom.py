"""DICOM files: rescaled, windowed, turned, and refused in words."""

import importlib.util
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.errors import ImageError
from backlight.images import DeepPicture, Preprocessing, decode, open_images

pydicom = pytest.importorskip("pydicom")

RAMP = np.arange(20, dtype=np.uint16).reshape(4, 5) * 200  # 0 to 3800


def make(pixels=RAMP, **tags):
    """Return the bytes of a DICOM file."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = tags.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    data.PlanarConfiguration = 0
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored = 12 if pixels.dtype.itemsize == 2 else data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        setattr(data, name, value)
    stream = BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def shown(data):
    """Return what a network sees of a file, 0 to 1."""
    own = Preprocessing(None, RAMP.shape, (0.0,), (1.0,))
    return own.tensor(data)[0].numpy()


def test_values_are_rescaled_and_the_window_is_black_to_white():
    data = make(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=1000.5, WindowWidth=2001)
    picture = decode(data)
    hounsfield = RAMP * 2.0 - 1024
    assert isinstance(picture, DeepPicture)
    assert np.array_equal(picture.values, hounsfield)
    assert picture.limits == (0, 2000)
    expected = np.clip(hounsfield / 2000, 0, 1)
    np.testing.assert_allclose(shown(data), expected, atol=1e-6)
    assert np.array_equal(np.asarray(picture.convert("L")), np.uint8(expected.astype(np.float32) * 255 + 0.5))


def test_a_range_is_in_the_units_of_the_file():
    data = make(RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=10)
    own = Preprocessing(None, RAMP.shape, (0.0,), (1.0,), range=(-1000, 2800))
    np.testing.assert_allclose(own.tensor(data)[0].numpy(), RAMP / 3800, atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, RAMP / 4095),  # 12 bits are stored
        ({"WindowCenter": ["2000", "5"], "WindowWidth": ["1000", "9"], "VOILUTFunction": "LINEAR_EXACT"},
         np.clip((RAMP - 1500.0) / 1000, 0, 1)),
        ({"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"},
         1 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))),
        ({"WindowCenter": 2000, "WindowWidth": 1000}, np.clip((RAMP - 1999.5) / 999 + 0.5, 0, 1)),
        ({"PhotometricInterpretation": "MONOCHROME1"}, 1 - RAMP / 4095),
        ({"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000.5, "WindowWidth": 1001},
         1 - np.clip((RAMP - 1500.0) / 1000, 0, 1)),
        ({"WindowCenter": 2000, "WindowWidth": 0}, RAMP / 4095),
    ],
    ids=["none", "exact", "sigmoid", "linear", "inverted", "inverted window", "no width"],
)  # fmt: skip
def test_windows(tags, expected):
    np.testing.assert_allclose(shown(make(**tags)), expected, atol=1e-6)


def test_signed_values_and_other_depths():
    signed = (RAMP // 2).astype(np.int16) - np.int16(1000)
    np.testing.assert_allclose(shown(make(signed)), (signed + 2048) / 4095, atol=1e-6)
    small = np.uint8(RAMP // 16)
    np.testing.assert_allclose(shown(make(small)), small / 255, atol=1e-6)


def test_a_table_in_the_place_of_a_window():
    table = pydicom.dataset.Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], [i * 16 for i in range(4096)]
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    np.testing.assert_allclose(shown(make(VOILUTSequence=[table])), RAMP * 16.0 / 65535, atol=1e-6)


def test_colour():
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    picture = decode(make(colour))
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.asarray(picture), colour)
    deep = np.random.default_rng(0).integers(0, 65536, (4, 6, 3), np.uint16)
    assert np.array_equal(decode(make(deep, BitsStored=16, HighBit=15)).values, deep)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            make(np.zeros((8, 5), np.uint16), NumberOfFrames=2, Rows=4),
            "^a DICOM file of 2 frames; save each as a file",
        ),
        (make(Rows=60000, Columns=60000), r"^too large: 60000 x 60000 = 3600000000 pixels, the limit is"),
        (make(Rows=0), r"^no pixels: 0 x 5$"),
        (make(PhotometricInterpretation="HSV"), r"^damaged image|of the kind 'HSV', which is not read"),
        (make()[:900] if len(make()) > 900 else make()[:-20], "^damaged image: "),
        (
            make(syntax=pydicom.uid.DeflatedExplicitVRLittleEndian),
            r"^a deflated DICOM file; save it uncompressed$",
        ),
    ],
    ids=["frames", "large", "empty", "kind", "cut", "deflated"],
)
def test_what_cannot_be_read(data, message):
    with pytest.raises(ImageError, match=message):
        decode(data)


def test_a_compression_that_nothing_here_reads():
    packed = pydicom.encaps.encapsulate([b"no such picture"])
    data = pydicom.dcmread(BytesIO(make()))
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = packed
    stream = BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    with pytest.raises(
        ImageError, match=r"^a DICOM file whose compression cannot be read \(.*\); pydicom reads more"
    ):
        decode(stream.getvalue())


def test_a_file_without_pixels():
    data = pydicom.dcmread(BytesIO(make()))
    del data.PixelData
    stream = BytesIO()
    pydicom.dcmwrite(stream, data)
    with pytest.raises(ImageError, match=r"^a DICOM file without pixels$"):
        decode(stream.getvalue())


def test_a_folder_of_them(tmp_path):
    for name in ("a.dcm", "b.DCM", "c.dicom"):
        (tmp_path / name).write_bytes(make())
    source = open_images(tmp_path)
    assert [record.path for record in source.records] == ["a.dcm", "b.DCM", "c.dicom"]
    assert torch.equal(*(torch.tensor(shown(source.load(i))) for i in (0, 2)))


def test_without_pydicom_it_is_said_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "backlight.images.dicom.find_spec", lambda name: None if name == "pydicom" else find(name)
    )
    (tmp_path / "a.dcm").write_bytes(make())
    said = r"has 1 file of formats that are not read: 1 \.dcm; pip install 'backlight\[dicom\]' reads DICOM$"
    with pytest.warns(UserWarning, match=said):
        source = open_images(tmp_path)
    with pytest.raises(
        ImageError, match=r"^a DICOM file, which needs a package .*: pip install 'backlight\[dicom\]'$"
    ):
        source.load(0)
