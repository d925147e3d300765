"""A small atlas of a network with branches: a stem and three fire modules, of which two are alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from backlight import Preprocessing, build, capture
from conftest import make_pictures


class Fire(nn.Module):
    """A convolution, two that read it, and their maps together."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, 2, 1)
        self.left = nn.Conv2d(2, n_out, 1)
        self.right = nn.Conv2d(2, n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 2 * n_out, h, w)."""
        x = self.squeeze(x)
        return torch.cat([self.left(x), self.right(x)], 1)


class Branched(nn.Module):
    """A stem and three fire modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.two, self.three = Fire(4, 2), Fire(4, 2), Fire(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 6, h, w)."""
        return self.three(self.two(self.one(self.stem(x))))


def make_branched_atlas(path: Path) -> None:
    """Write the atlas."""
    path.write_bytes(_branched())


@lru_cache
def _branched() -> bytes:
    torch.manual_seed(3)
    net = capture(Branched(), (3, 12, 12), Preprocessing(None, (12, 12), (0.5,) * 3, (0.5,) * 3))
    layers = [
        "stem",
        *(
            f"{block}.{own}"
            for block in ("one", "two", "three")
            for own in ("squeeze", "left", "right", "cat")
        ),
    ]
    with TemporaryDirectory() as folder:
        pictures = make_pictures(Path(folder) / "pictures", 5, (12, 12))
        path = Path(folder) / "branched.atlas"
        build(net, pictures, path, layers, top=2, maps=[0, 1], compile="off").close()
        return path.read_bytes()
