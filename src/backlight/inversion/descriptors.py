"""HOG and dense SIFT as networks: the descriptors used before learned features, with gradients to the pixels.

Each is a short chain: convolutions with fixed weights, and two non-linear steps, the binning of gradients by their
direction and the normalisation of blocks of cells.

*Source*: Mahendran & Vedaldi (2014), section 4.1, and its program.

*Convention*: in direction 0 grey increases with the column; directions turn towards increasing rows. Bin k is at
k·π/orientations. Outside of the image HOG sees mid-grey, which is 0; dense SIFT does not look outside.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.inversion.descriptor_stages import (
    SIFT_CELLS,
    Binning,
    DescriptorMaps,
    Normalise,
    central_differences,
    fixed,
    hog_blocks,
    hog_cells,
    sift_blocks,
    tents,
)
from backlight.network import Network, capture

_MEAN, _STD = (128 / 255,), (1 / 255,)
_HOG_FLOOR, _SIFT_OFFSET = 1e-6, 1e-6
_SIFT_STEP = 3


class HOG(nn.Module):
    """Histograms of oriented gradients, in the variant of Felzenszwalb et al. (UoCTTI).

    Stages, each a layer of its own: `gradient` (2 maps: along the columns, along the rows), `binning` (2·orientations
    directions), `cells` (their sums under a tent twice as wide as a cell), `blocks` (4·3·orientations: the cells of
    each 2 x 2 block at top left, top right, bottom left and bottom right; for each the directions, then the sums of
    opposite ones), `normalise` (divided by the length of these sums, at least 1e-6; clamped at 0.2) and `deblock` (half
    of the sum over the blocks that contain the cell; border cells are in fewer).

    *Source*: Mahendran & Vedaldi (2014), section 4.1; Felzenszwalb et al. (2010), section 6.
    *Differs*: the paper projects the gradient on each direction and takes the acos; here the angle is computed, which
    is the same but has a derivative also exactly at a direction. Felzenszwalb's four texture features are left out, as
    in the paper's network. scikit-image's `hog` covers half a turn only, its bins begin where these have their middle,
    its cells have hard edges, and its blocks are not put back together into cells.

    Args:
        orientations: Number of directions in half a turn, at least 2; 9 in the paper.
        cell: Height and width of a cell in pixels, even; 8 in the paper.
        binning: "bilinear" shares a gradient between the two nearest directions in proportion (the paper's HOGb);
            "hard" gives it to the nearest (its HOG), the first of two at equal distance; changes of direction then have
            no derivative.

    Raises:
        BadInputError: Fewer than 2 orientations, an odd cell, an unknown binning.

    Example:
        >>> HOG()(torch.zeros(1, 1, 64, 48)).shape
        torch.Size([1, 27, 8, 6])
    """

    def __init__(self, orientations: int = 9, cell: int = 8, binning: str = "bilinear") -> None:
        super().__init__()
        _check_orientations(orientations)
        if cell < 2 or cell % 2:
            raise BadInputError(f"a cell of HOG must be an even number of pixels, at least 2, got {cell}")
        if binning not in ("bilinear", "hard"):
            raise BadInputError(f"unknown binning {binning!r}; known are bilinear, hard")
        self.smallest = 2 * cell
        self.gradient = central_differences(padding=1)
        self.binning = Binning(orientations, binning == "hard")
        # padded by half a cell, so that the first tent is centred on the middle of the first cell
        self.cells = tents(2 * orientations, cell, padding=cell // 2)
        self.blocks = fixed(hog_blocks(orientations))
        # Of each cell's 3·orientations features the last third, sums of opposite directions, counts towards the length.
        is_sum = torch.arange(3 * orientations) >= 2 * orientations
        self.normalise = Normalise(is_sum.float().repeat(4), floor=_HOG_FLOOR**2)
        self.deblock = fixed(hog_cells(3 * orientations), padding=1)

    def forward(self, x: Float[Tensor, "n 1 h w"]) -> DescriptorMaps:
        """Return codes (n, 3·orientations, h // cell, w // cell): the directions, then sums of opposite ones.

        Args:
            x: Grey levels less 128, in -128..127.

        Raises:
            BadInputError: The image is smaller than two cells.
        """
        _check_size(self, x.shape[2], x.shape[3])
        # (n, 1, h, w) -> gradient (n, 2, h, w) -> binning (n, 2o, h, w) -> cells (n, 2o, h / cell, w / cell) -> blocks
        # of 2 x 2 cells (n, 12o, one row and column fewer)
        blocks: Tensor = self.blocks(self.cells(self.binning(self.gradient(x))))
        # -> cells again (n, 3o, h / cell, w / cell)
        codes: Tensor = self.deblock(self.normalise(blocks))
        return codes


class DenseSIFT(nn.Module):
    """SIFT descriptors of one size, without rotation, over the whole image.

    Stages, each a layer of its own: `gradient` (2 maps), `binning` (2·orientations directions, bilinear), `cells` (sums
    under a tent twice as wide as a bin), `blocks` (4 x 4 cells, row by row, at every third cell, weighted by a Gaussian
    of 1.5 cells) and `normalise` (each block divided by √(its squares + 1e-6); clamped at 0.2).

    *Source*: Mahendran & Vedaldi (2014), section 4.1, and its program for the constants.
    *Differs*: angles as in `HOG`. Unlike Lowe's, blocks are not normalised again after the clamp; nor are the paper's.

    Args:
        orientations: Number of directions in half a turn, at least 2; 4 in the paper.
        bin_size: Height and width of a cell in pixels; 5 in the paper of 2014, 8 in that of 2016.

    Raises:
        BadInputError: Fewer than 2 orientations, or a bin below 1 pixel.

    Example:
        >>> DenseSIFT()(torch.zeros(1, 1, 64, 48)).shape
        torch.Size([1, 128, 3, 2])
    """

    def __init__(self, orientations: int = 4, bin_size: int = 5) -> None:
        super().__init__()
        _check_orientations(orientations)
        if bin_size < 1:
            raise BadInputError(f"a bin of dense SIFT must be at least 1 pixel, got {bin_size}")
        n_directions = 2 * orientations
        # A block is 4 cells and the tents reach half a cell beyond; the differences take a pixel at either side.
        self.smallest = (SIFT_CELLS + 1) * bin_size + 2
        self.gradient = central_differences(padding=0)
        self.binning = Binning(orientations, hard=False)
        self.cells = tents(n_directions, bin_size, padding=0)
        self.blocks = fixed(sift_blocks(n_directions), stride=_SIFT_STEP)
        self.normalise = Normalise(torch.ones(SIFT_CELLS**2 * n_directions), offset=_SIFT_OFFSET)

    def forward(self, x: Float[Tensor, "n 1 h w"]) -> DescriptorMaps:
        """Return codes (n, 32·orientations, rows, cols): the cells of a block one by one, each with its directions.

        With r = (h - 2) // bin_size - 1 rows of cells there are (r - 4) // 3 + 1 rows of blocks; columns alike.

        Args:
            x: Grey levels less 128, in -128..127.

        Raises:
            BadInputError: The image is smaller than a block.
        """
        _check_size(self, x.shape[2], x.shape[3])
        # (n, 1, h, w) -> gradient (n, 2, h - 2, w - 2) -> binning (n, 2o, ...) -> cells (n, 2o, r, c) -> blocks (n,
        # 32o, ...)
        codes: Tensor = self.normalise(self.blocks(self.cells(self.binning(self.gradient(x)))))
        return codes


def descriptor(name: str, size: int | tuple[int, int]) -> Network:
    """Return a descriptor as a captured network that takes grey pictures.

    Args:
        name: "hog" (hard binning), "hogb" (bilinear binning) or "dsift", with the constants of the paper of 2014.
        size: Input in pixels: an int for a square, or (h, w). A picture's short side is resized to the longer of both,
            and its centre is cropped.

    Raises:
        BadInputError: An unknown name, or too small a size.

    Example:
        >>> descriptor("hog", (64, 48)).layers[-1].shape
        (27, 8, 6)
    """
    if name not in _DESCRIPTORS:
        raise BadInputError(f"unknown descriptor {name!r}; known are {', '.join(_DESCRIPTORS)}")
    crop = (size, size) if isinstance(size, int) else size
    model = _DESCRIPTORS[name]()
    _check_size(model, *crop)
    return capture(model, (1, *crop), Preprocessing(max(crop), crop, _MEAN, _STD))


_DESCRIPTORS: dict[str, Callable[[], HOG | DenseSIFT]] = {
    "hog": lambda: HOG(binning="hard"),
    "hogb": lambda: HOG(binning="bilinear"),
    "dsift": DenseSIFT,
}


def _check_orientations(orientations: int) -> None:
    if orientations < 2:
        raise BadInputError(f"a descriptor needs at least 2 orientations, got {orientations}")


def _check_size(model: HOG | DenseSIFT, height: int, width: int) -> None:
    least = model.smallest
    if min(height, width) < least:
        raise BadInputError(
            f"{type(model).__name__} takes images of at least {least} x {least} pixels, got {height} x {width}; "
            "use a larger image or smaller cells"
        )
