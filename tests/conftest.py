"""What all tests share: the evaluation data beside the project, small networks, and pictures made on the spot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

if TYPE_CHECKING:  # imported before pytest has hooked types in, the package would not be checked
    from backlight import Network, Preprocessing

SHARED = Path(__file__).resolve().parents[2] / "shared"
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

# Some modules of tests draw their networks on import: the same ones in every run. Fixtures of a module come before
# `_one_thread`, and run on one thread too: how sums are split among threads decides their last bits.
torch.manual_seed(0)
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the evaluation data, or a GPU, where there is none."""
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"needs the evaluation data in {SHARED}"))
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def untyped() -> Iterator[None]:
    """Turn the type checker off, for tests that pass what it forbids, or what is damaged: it would refuse first."""
    from fuzz.walking import without_type_checks

    with without_type_checks():
        yield


@pytest.fixture
def shared() -> Path:
    """Return the folder of the evaluation data."""
    return SHARED


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the benchmarks importable by their names, and return their folder.

    Some are called like folders of tests, which another test may have imported as packages: these are put aside.
    """
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    for path in BENCHMARKS.glob("*.py"):
        known = sys.modules.get(path.stem)
        if known is not None and getattr(known, "__file__", None) != str(path):
            monkeypatch.delitem(sys.modules, path.stem)
    return BENCHMARKS


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Run torch on one thread: the suite runs several tests at once."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_noise_every_run() -> None:
    torch.manual_seed(0)


class SmallNet(nn.Module):
    """Two convolutions, a pool, and a classifier: 8 and 12 feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 5) of images (n, 3, h, w)."""
        x = self.pool(self.relu1(self.conv1(x)))
        return self.fc(self.relu2(self.conv2(x)).mean((2, 3)))


@pytest.fixture
def small_net() -> SmallNet:
    """Return a small network with fixed random weights."""
    torch.manual_seed(0)
    return SmallNet()


@cache
def _captured(preprocessing: Preprocessing | None) -> tuple[Network, torch.Tensor]:
    from backlight import capture

    torch.manual_seed(0)
    return capture(SmallNet(), (3, 32, 32), preprocessing), torch.get_rng_state()


def captured_small_net(preprocessing: Preprocessing | None = None) -> Network:
    """Return the small network with its fixed weights, captured; all tests of a process share it and leave it as it is.

    torch's random numbers continue as they do after the network has been made.
    """
    net, state = _captured(preprocessing)
    torch.set_rng_state(state)
    return net


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Return a folder of 40 small noise pictures in two class folders."""
    return make_pictures(tmp_path / "pictures", 40)


def make_pictures(folder: Path, count: int, size: tuple[int, int] = (40, 48)) -> Path:
    """Write noise pictures with soft blobs into class folders a and b, and return the folder."""
    generator = np.random.default_rng(count)
    for i in range(count):
        own = folder / "ab"[i % 2]
        own.mkdir(parents=True, exist_ok=True)
        small = generator.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(own / f"{i:03}.png")
    return folder
