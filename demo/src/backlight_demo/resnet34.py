"""The ImageNet ResNet-34 of the dlib project, as an ordinary module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Feature maps and number of blocks of each of the four groups."""


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without parameters.

    Args:
        n_in: Number of input feature maps.
        n_out: Number of output feature maps.
        downsample: Whether the block halves the size: its first convolution then has stride 2 and no padding,
            and its shortcut is a 2×2 average pool.
    """

    def __init__(self, n_in: int, n_out: int, downsample: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if downsample else (1, 1)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1)
        self.shortcut: nn.Module = nn.AvgPool2d(2) if downsample else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified sum of the two paths, (n, n_out, h, w)."""
        path = self.conv2(self.relu1(self.conv1(x)))
        total: Tensor = self.relu2(add_padded(path, self.shortcut(x)))
        return total


class ResNet34(nn.Module):
    """dlib's ResNet-34: 33 convolutions and one linear layer, the batch norms folded into the convolutions.

    The layers are `conv0`, `relu0`, `pool0`, then `group1` … `group4` of blocks with
    `conv1`, `relu1`, `conv2`, `shortcut`, `relu2`, and at the end `avgpool` and `fc`.

    Args:
        n_classes: Number of classes.

    Differs:
        From He et al. (2015), as dlib does: no padding wherever the stride is 2, average pools in place of
        the 1×1 shortcuts, and additions that pad the smaller operand with zeros.

    Examples:
        >>> ResNet34()(torch.zeros(2, 3, 227, 227)).shape
        torch.Size([2, 1000])
    """

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 64, 7, 2)
        self.relu0 = nn.ReLU()
        self.pool0 = nn.MaxPool2d(3, 2)
        self.group1 = _group(64, *GROUPS[0], downsample=False)
        self.group2 = _group(64, *GROUPS[1], downsample=True)
        self.group3 = _group(128, *GROUPS[2], downsample=True)
        self.group4 = _group(256, *GROUPS[3], downsample=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the classes before the softmax.

        Args:
            x: Images normalised with `PREPROCESSING`, (n, 3, 227, 227).

        Returns:
            The scores, (n, n_classes).
        """
        x = self.pool0(self.relu0(self.conv0(x)))
        x = self.group4(self.group3(self.group2(self.group1(x))))
        scores: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return scores


def add_padded(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of two stacks of feature maps, each padded with zeros to the larger size.

    Args:
        a: (n, c, h, w).
        b: (n, c', h', w').

    Returns:
        The sum, (n, max(c, c'), max(h, h'), max(w, w')).

    Convention:
        The zeros are added at the end: after the last channel, below the last row, right of the last column.

    Examples:
        >>> add_padded(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 2)).tolist()
        [[[[2.0, 1.0]]]]
    """
    size = [max(m, n) for m, n in zip(a.shape[1:], b.shape[1:], strict=True)]
    return _padded(a, size) + _padded(b, size)


def _padded(x: Tensor, size: list[int]) -> Tensor:
    channels, rows, cols = (wanted - given for wanted, given in zip(size, x.shape[1:], strict=True))
    if channels == rows == cols == 0:
        return x
    return F.pad(x, (0, cols, 0, rows, 0, channels))


def _group(n_in: int, n_out: int, n_blocks: int, downsample: bool) -> nn.Sequential:
    first = Block(n_in, n_out, downsample)
    return nn.Sequential(first, *(Block(n_out, n_out, False) for _ in range(n_blocks - 1)))
