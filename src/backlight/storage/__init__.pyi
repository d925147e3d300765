# What the room offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .arrays import read_npy as read_npy
from .arrays import read_npz as read_npz
from .locking import holder as holder
from .locking import locked as locked
from .writing import check_folder as check_folder
from .writing import check_place as check_place
from .writing import make_folder as make_folder
from .writing import replacing as replacing
from .writing import sweep as sweep
from .writing import unwritable as unwritable
