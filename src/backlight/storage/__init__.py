"""Storage: files that are written whole or not at all, locks between runs, and arrays read from untrusted files."""

from backlight.storage.arrays import read_npy, read_npz
from backlight.storage.locking import holder, locked
from backlight.storage.writing import check_folder, check_place, make_folder, replacing, sweep, unwritable

__all__ = [
    "check_folder",
    "check_place",
    "holder",
    "locked",
    "make_folder",
    "read_npy",
    "read_npz",
    "replacing",
    "sweep",
    "unwritable",
]
