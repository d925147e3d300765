"""Nine small networks, trained on CIFAR-10 in minutes each: subjects of the evidence beside those trained by others.

Each family of architectures is there once: plain with max pools, residual, all-convolutional, leaky rectifiers,
depthwise, dense (concatenations), smooth rectifiers, average pools. The images are for evaluation only, so the weights
stay outside the project, in a folder that git ignores; training is seeded, and a network that is there is not trained
again.

    python benchmarks/cifar_networks.py [--epochs 8] [--only vgg]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from backlight import Network, Preprocessing, capture
from backlight.images import ImageSource, open_images
from common import SEED, SHARED

FOLDER = Path(__file__).parents[1] / "build" / "cifar"
CLASSES, SIDE, BATCH, TOP_RATE = 10, 32, 128, 0.01
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


def convolution(n_in: int, n_out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution with its batch norm."""
    conv = nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.relu1 = convolution(n_in, n_out, stride=stride), nn.ReLU()
        self.conv2, self.relu2 = convolution(n_out, n_out), nn.ReLU()
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else convolution(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways, rectified."""
        return self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))


class Dense(nn.Module):
    """Convolutions each of which reads all before it."""

    def __init__(self, n_in: int, growth: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convolution(n_in + i * growth, growth) for i in range(count))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps that came in and those of all convolutions."""
        for conv, relu in zip(self.convs, self.relus, strict=True):
            x = torch.cat([x, relu(conv(x))], 1)
        return x


def _plain(rectifier: Callable[[], nn.Module], pool: Callable[[], nn.Module]) -> Iterator[nn.Module]:
    for n_in, n_out in ((3, 32), (32, 64), (64, 96)):
        yield from (convolution(n_in, n_out), rectifier(), convolution(n_out, n_out), rectifier(), pool())


def _strided() -> Iterator[nn.Module]:
    for n_in, n_out in ((3, 32), (32, 64), (64, 96)):
        yield from (convolution(n_in, n_out), nn.ReLU(), convolution(n_out, n_out, stride=2), nn.ReLU())


def _depthwise() -> Iterator[nn.Module]:
    yield from (convolution(3, 32), nn.ReLU6())
    for n_in, n_out, stride in ((32, 64, 2), (64, 96, 1), (96, 128, 2), (128, 128, 1)):
        yield from (
            convolution(n_in, n_in, 3, stride, n_in),
            nn.ReLU6(),
            convolution(n_in, n_out, 1),
            nn.ReLU6(),
        )


def _residual() -> Iterator[nn.Module]:
    yield from (convolution(3, 32), nn.ReLU())
    yield from (Residual(*own) for own in ((32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1)))


def _dense() -> Iterator[nn.Module]:
    yield from (convolution(3, 24), nn.ReLU())
    for n_in in (24, 72):
        yield from (Dense(n_in, 16, 3), nn.MaxPool2d(2))
    yield from (convolution(120, 96), nn.ReLU())


def _max() -> nn.Module:
    return nn.MaxPool2d(2)


BODIES: dict[str, tuple[Callable[[], Iterator[nn.Module]], int]] = {
    "vgg": (lambda: _plain(nn.ReLU, _max), 96),
    "overlapping": (lambda: _plain(nn.ReLU, lambda: nn.MaxPool2d(3, 2, 1)), 96),
    "average": (lambda: _plain(nn.ReLU, lambda: nn.AvgPool2d(2)), 96),
    "leaky": (lambda: _plain(lambda: nn.LeakyReLU(0.1), _max), 96),
    "silu": (lambda: _plain(nn.SiLU, _max), 96),
    "strided": (_strided, 96),
    "residual": (_residual, 96),
    "depthwise": (_depthwise, 128),
    "dense": (_dense, 96),
}
"""By name what makes the parts of a body, and how many maps come out of it."""


def make(name: str) -> nn.Sequential:
    """Return a network with random weights."""
    torch.manual_seed(SEED)
    parts, width = BODIES[name]
    return nn.Sequential(*parts(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def load(name: str) -> Network:
    """Return a trained network, captured."""
    model = make(name)
    model.load_state_dict(load_file(FOLDER / f"{name}.safetensors"))
    return capture(model.eval(), (3, SIDE, SIDE), Preprocessing(None, (SIDE, SIDE), MEAN, STD))


def images(part: str) -> ImageSource:
    """Return the images of `train` or `test`."""
    return open_images(
        str(SHARED / "cifar10" / f"cifar10-{part}-{'{000..003}' if part == 'train' else '000'}.tar")
    )


def _class(label: str | None, source: ImageSource) -> int:
    names = getattr(source, "class_names", ())  # of the file classes.txt beside the shards
    return names.index(label) if label in names else int(label or 0)


def tensors(part: str) -> tuple[Tensor, Tensor]:
    """Return the images of a part, normalised (n, 3, 32, 32), and their classes."""
    source = images(part)
    pictures = np.stack([np.asarray(source.load(i)) for i in range(len(source))])
    labels = torch.tensor([_class(record.label, source) for record in source.records])
    mean, std = (torch.tensor(own)[:, None, None] for own in (MEAN, STD))
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / std, labels


def train(model: nn.Module, data: tuple[Tensor, Tensor], epochs: int) -> None:
    """Train with one cycle of the learning rate; pictures are mirrored and shifted at random."""
    x, y = data
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.AdamW(model.parameters(), TOP_RATE, weight_decay=0.05)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, TOP_RATE, total_steps=steps, pct_start=0.2)
    model.to(memory_format=torch.channels_last).train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = functional.cross_entropy(
                model(_changed(x[chosen], generator)), y[chosen], label_smoothing=0.1
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _changed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures of which half are mirrored, all shifted together by up to 4 pixels."""
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
    return functional.pad(x, [4] * 4)[..., top : top + SIDE, left : left + SIDE]


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the share of images whose class a network finds."""
    x, y = data
    found = torch.cat([model(x[i : i + 500]).argmax(1) for i in range(0, len(x), 500)])
    return (found == y).double().mean().item()


def main(names: list[str], epochs: int) -> None:
    """Train the networks that are not there yet."""
    wanted = [name for name in names if not (FOLDER / f"{name}.safetensors").is_file()]
    if not wanted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    data, held_out = tensors("train"), tensors("test")
    for name in wanted:
        model = make(name)
        train(model, data, epochs)
        print(f"{name}: {accuracy(model.eval(), held_out):.1%} of the test images", flush=True)
        weights = {key: own.contiguous() for key, own in model.state_dict().items()}
        save_file(weights, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=list(BODIES), choices=list(BODIES))
    options = parser.parse_args()
    main(options.only, options.epochs)
