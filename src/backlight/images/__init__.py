"""Where images come from: sources with stable ids, decoding, preprocessing, batches."""

from backlight.images.arrays import load_numbers
from backlight.images.crops import CropSource
from backlight.images.decode import ImageLike, decode
from backlight.images.deep import DeepPicture, Picture
from backlight.images.files import folder_source, list_source
from backlight.images.loading import Batch, load_batches
from backlight.images.opening import open_images
from backlight.images.preprocessing import Preprocessing
from backlight.images.ranges import RangeWatch
from backlight.images.saved_dataset import DatasetSource
from backlight.images.shards import TarSource
from backlight.images.skipped import Skipped
from backlight.images.sources import (
    IMAGE_SUFFIXES,
    FileSource,
    ImageRecord,
    ImageSource,
    OneImage,
    SequenceSource,
    is_one_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "Batch",
    "CropSource",
    "DatasetSource",
    "DeepPicture",
    "FileSource",
    "ImageLike",
    "ImageRecord",
    "ImageSource",
    "OneImage",
    "Picture",
    "Preprocessing",
    "RangeWatch",
    "SequenceSource",
    "Skipped",
    "TarSource",
    "decode",
    "folder_source",
    "is_one_image",
    "list_source",
    "load_batches",
    "load_numbers",
    "open_images",
]
