# What the room offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .addresses import is_address as is_address
from .arrays import load_numbers as load_numbers
from .crops import CropSource as CropSource
from .decode import ImageLike as ImageLike
from .decode import decode as decode
from .deep import DeepPicture as DeepPicture
from .deep import Picture as Picture
from .files import folder_source as folder_source
from .files import list_source as list_source
from .loading import Batch as Batch
from .loading import load_batches as load_batches
from .opening import open_images as open_images
from .parquet import ParquetSource as ParquetSource
from .preprocessing import Preprocessing as Preprocessing
from .ranges import RangeWatch as RangeWatch
from .remote_files import AddressSource as AddressSource
from .saved_dataset import DatasetSource as DatasetSource
from .shards import TarSource as TarSource
from .skipped import Skipped as Skipped
from .sources import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from .sources import FileSource as FileSource
from .sources import ImageRecord as ImageRecord
from .sources import ImageSource as ImageSource
from .sources import OneImage as OneImage
from .sources import SequenceSource as SequenceSource
from .sources import is_one_image as is_one_image
