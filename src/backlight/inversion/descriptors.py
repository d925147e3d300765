"""HOG and dense SIFT as networks: the descriptors that came before learned features, with gradients to the pixels.

Each is a short chain: convolutions with weights that are written down and not learned, and two steps that are not
linear, the binning of gradients by their direction and the normalisation of blocks of cells.

*Source*: Mahendran & Vedaldi (2014), section 4.1, and the program that belongs to it.

*Convention*: direction 0 is that in which grey grows with the column; it turns towards growing rows. Bin k lies at
k·π/orientations. Outside of the image HOG sees mid-grey, which is 0; dense SIFT does not look outside.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.network import Network, capture

_MEAN, _STD = (128 / 255,), (1 / 255,)
_LEAST_EDGE = 1e-10
_TIE = 1e-5
_CLAMP = 0.2
_HOG_FLOOR, _SIFT_OFFSET = 1e-6, 1e-6
_SIFT_CELLS, _SIFT_STEP, _SIFT_SIGMA = 4, 3, 1.5

Maps = Float[Tensor, "n c rows cols"]


class HOG(nn.Module):
    """Histograms of oriented gradients, in the variant of Felzenszwalb et al. (UoCTTI).

    Stages, each a layer of its own: `gradient` (2 maps: along the columns, along the rows), `binning` (2·orientations
    directions), `cells` (their sums under a tent of twice the cell's width), `blocks` (4·3·orientations: the cells of
    each 2 x 2 at top left, top right, bottom left and bottom right; of each the directions, then the sums of opposite
    ones), `normalise` (divided by the length of the latter, at least 1e-6; nothing above 0.2) and `deblock` (half of
    the sum over the blocks that a cell is in, of which a cell at the border has fewer).

    *Source*: Mahendran & Vedaldi (2014), section 4.1; Felzenszwalb et al. (2010), section 6.
    *Differs*: the paper projects the gradient on each direction and takes the acos of that; here its angle is
    computed, which is the same, and has a derivative also where it meets a direction. Felzenszwalb's four texture
    features are not there, as they are not in the paper's network. scikit-image's `hog` has half a turn only, bins that
    begin where these have their middle, cells with hard edges, and blocks that are not put back together to cells.

    Args:
        orientations: Number of directions in half a turn, at least 2; 9 in the paper.
        cell: Height and width of a cell in pixels, even; 8 in the paper.
        binning: "bilinear" gives a gradient to the two nearest directions, by how near they are (the paper's HOGb);
            "hard" to the nearest (its HOG), in the middle between two to the first; then changes of direction have no
            derivative.

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
            raise BadInputError(f"a cell of HOG is an even number of pixels, at least 2, but came {cell}")
        if binning not in ("bilinear", "hard"):
            raise BadInputError(f"unknown binning {binning!r}; known are bilinear, hard")
        self.smallest = 2 * cell
        self.gradient = _central_differences(padding=1)
        self.binning = _Binning(orientations, binning == "hard")
        self.cells = _tents(2 * orientations, cell, padding=cell // 2)
        self.blocks = _fixed(_hog_blocks(orientations))
        is_sum = torch.arange(3 * orientations) >= 2 * orientations
        self.normalise = _Normalise(is_sum.float().repeat(4), floor=_HOG_FLOOR**2)
        self.deblock = _fixed(_hog_cells(3 * orientations), padding=1)

    def forward(self, x: Float[Tensor, "n 1 h w"]) -> Maps:
        """Return codes (n, 3·orientations, h // cell, w // cell): the directions, then sums of opposite ones.

        Args:
            x: Grey levels less 128, in -128..127.

        Raises:
            BadInputError: The image is smaller than two cells.
        """
        _check_size(self, x.shape[2], x.shape[3])
        blocks: Tensor = self.blocks(self.cells(self.binning(self.gradient(x))))
        codes: Tensor = self.deblock(self.normalise(blocks))
        return codes


class DenseSIFT(nn.Module):
    """SIFT descriptors of one size and no rotation, over the whole image.

    Stages, each a layer of its own: `gradient` (2 maps), `binning` (2·orientations directions, bilinear), `cells` (sums
    under a tent of twice the bin's width), `blocks` (every third 4 x 4 cells, row by row, weighted by a Gaussian of
    1.5 cells) and `normalise` (each block divided by √(its squares + 1e-6); nothing above 0.2).

    *Source*: Mahendran & Vedaldi (2014), section 4.1, and its program for the constants.
    *Differs*: angles as in `HOG`. After the clamp, blocks are not normalised again, as Lowe's are; nor are the paper's.

    Args:
        orientations: Number of directions in half a turn, at least 2; 4 in the paper.
        bin_size: Height and width of a cell in pixels; 5 in the paper of 2014, 8 in that of 2016.

    Raises:
        BadInputError: Fewer than 2 orientations, or no bin.

    Example:
        >>> DenseSIFT()(torch.zeros(1, 1, 64, 48)).shape
        torch.Size([1, 128, 3, 2])
    """

    def __init__(self, orientations: int = 4, bin_size: int = 5) -> None:
        super().__init__()
        _check_orientations(orientations)
        if bin_size < 1:
            raise BadInputError(f"a bin of dense SIFT is at least 1 pixel, but came {bin_size}")
        n_directions = 2 * orientations
        self.smallest = (_SIFT_CELLS + 1) * bin_size + 2
        self.gradient = _central_differences(padding=0)
        self.binning = _Binning(orientations, hard=False)
        self.cells = _tents(n_directions, bin_size, padding=0)
        self.blocks = _fixed(_sift_blocks(n_directions), stride=_SIFT_STEP)
        self.normalise = _Normalise(torch.ones(_SIFT_CELLS**2 * n_directions), offset=_SIFT_OFFSET)

    def forward(self, x: Float[Tensor, "n 1 h w"]) -> Maps:
        """Return codes (n, 32·orientations, rows, cols): each cell of a block, of each its directions.

        With r = (h - 2) // bin_size - 1 rows of cells there are (r - 4) // 3 + 1 rows of blocks; columns alike.

        Args:
            x: Grey levels less 128, in -128..127.

        Raises:
            BadInputError: The image is smaller than a block.
        """
        _check_size(self, x.shape[2], x.shape[3])
        codes: Tensor = self.normalise(self.blocks(self.cells(self.binning(self.gradient(x)))))
        return codes


def descriptor(name: str, size: int | tuple[int, int]) -> Network:
    """Return a descriptor as a captured network that takes pictures in grey.

    Args:
        name: "hog" (hard binning), "hogb" (bilinear binning) or "dsift", with the constants of the paper of 2014.
        size: Input in pixels: an int for a square, or (h, w). Of a picture its short side becomes the longer of both,
            and the centre is cut out.

    Raises:
        BadInputError: An unknown name, or a size that is too small.

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


class _Binning(nn.Module):
    """The length of each gradient, given to the directions that are nearest to its own.

    *Convention*: a gradient below 1e-10 counts as none, and has no derivative.
    """

    directions: Tensor

    def __init__(self, orientations: int, hard: bool) -> None:
        super().__init__()
        self.orientations, self.hard = orientations, hard
        self.register_buffer("directions", torch.arange(2.0 * orientations).view(1, -1, 1, 1))

    def forward(self, gradient: Float[Tensor, "n 2 h w"]) -> Maps:
        """Return (n, 2·orientations, h, w) lengths, of at least 0, of gradients along columns and rows."""
        across, down = gradient[:, :1], gradient[:, 1:]
        squares = across.square() + down.square()
        flat = squares <= _LEAST_EDGE**2
        # neither the root nor the angle has a derivative at 0, and the chain rule would make NaN of that
        length = squares.masked_fill(flat, 1.0).sqrt().masked_fill(flat, 0.0)
        angle = torch.atan2(down, across.masked_fill(flat, 1.0))
        # repeated and not only broadcast, so that a captured network sees channels here
        return length.repeat(1, 2 * self.orientations, 1, 1) * self._shares(angle * (self.orientations / pi))

    def _shares(self, angle: Tensor) -> Tensor:
        """Return (n, 2·orientations, h, w) in 0..1 of angles (n, 1, h, w) in steps from one direction to the next."""
        whole_turn, half_turn = 2 * self.orientations, self.orientations
        if self.hard:
            # the middle between two is vertical where orientations are odd, and common: rounding must not decide
            nearest = (angle - (0.5 + _TIE)).ceil().remainder(whole_turn)
            return (nearest == self.directions).to(angle.dtype)
        away = (angle - self.directions + half_turn).remainder(whole_turn) - half_turn
        return (1 - away.abs()).relu()


class _Normalise(nn.Module):
    """Blocks (n, c, rows, cols) of values of at least 0, divided by √(max(squares, floor) + offset), at most 0.2.

    Args:
        counted: (c,) 1 for a channel whose square counts, else 0.
        floor: Least sum of squares.
        offset: Added to it.
    """

    counted: Tensor

    def __init__(self, counted: Tensor, floor: float = 0.0, offset: float = 0.0) -> None:
        super().__init__()
        self.floor, self.offset = floor, offset
        self.register_buffer("counted", counted.view(1, -1, 1, 1))

    def forward(self, blocks: Maps) -> Maps:
        """Return blocks of the same shape."""
        squares = (blocks.square() * self.counted).sum(1, keepdim=True)
        length = (squares.masked_fill(squares < self.floor, self.floor) + self.offset).sqrt()
        return (blocks / length).clamp(max=_CLAMP)


def _fixed(weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """Return a convolution with these weights, which are not for learning."""
    c_out, c_in, rows, cols = weight.shape
    # on no device, so that no random numbers are drawn for weights that are not used
    conv = nn.Conv2d(
        c_in * groups, c_out, (rows, cols), stride, padding, groups=groups, bias=False, device="meta"
    )
    conv.weight = nn.Parameter(weight, requires_grad=False)
    return conv


def _central_differences(padding: int) -> nn.Conv2d:
    """Return (next - last) / 2 along the columns and along the rows."""
    weight = torch.zeros(2, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([-0.5, 0.0, 0.5])
    weight[1, 0, :, 1] = torch.tensor([-0.5, 0.0, 0.5])
    return _fixed(weight, padding=padding)


def _tents(n_maps: int, size: int, padding: int) -> nn.Conv2d:
    """Return the sums of each map under bilinear tents: weight 1 - d / size, d the distance from the cell's centre."""
    away = (torch.arange(2.0 * size) + 0.5 - size) / size
    tent = 1 - away.abs()
    weight = torch.outer(tent, tent).expand(n_maps, 1, -1, -1).clone()
    return _fixed(weight, stride=size, padding=padding, groups=n_maps)


def _hog_blocks(orientations: int) -> Tensor:
    """Return weights (12·orientations, 2·orientations, 2, 2) that stack 2 x 2 cells and sums of opposite directions."""
    half = torch.eye(orientations)
    directions = torch.cat([torch.eye(2 * orientations), torch.cat([half, half], 1)])
    each = torch.eye(2)
    return torch.einsum("ia,jb,od->ijodab", each, each, directions).flatten(0, 2)


def _hog_cells(n_features: int) -> Tensor:
    """Return weights (n, 4·n, 2, 2) that give half of the sum of a cell's features over the four blocks it is in."""
    other = torch.eye(2).flip(0)  # the cell is the second of the block before it, the first of its own
    return 0.5 * torch.einsum("ia,jb,od->oijdab", other, other, torch.eye(n_features)).flatten(1, 3)


def _sift_blocks(n_directions: int) -> Tensor:
    """Return weights (16·n, n, 4, 4) that stack 4 x 4 cells under a Gaussian around the block's centre."""
    away = torch.arange(_SIFT_CELLS) - (_SIFT_CELLS - 1) / 2
    near = torch.exp(-0.5 * (away / _SIFT_SIGMA).square())
    each = torch.eye(_SIFT_CELLS)
    # (row, col, direction) of the block, then direction, row, col of the cells that they come from
    weight = torch.einsum("ia,jb,od,i,j->ijodab", each, each, torch.eye(n_directions), near, near)
    return weight.flatten(0, 2)


def _check_orientations(orientations: int) -> None:
    if orientations < 2:
        raise BadInputError(f"a descriptor has at least 2 orientations, but came {orientations}")


def _check_size(model: HOG | DenseSIFT, height: int, width: int) -> None:
    least = model.smallest
    if min(height, width) < least:
        raise BadInputError(
            f"{type(model).__name__} takes images of at least {least} x {least} pixels, but came {height} x {width}; "
            "give a larger one or make its cells smaller"
        )
