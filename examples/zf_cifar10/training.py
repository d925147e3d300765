"""The training loop: seeded, with checkpoints at the paper's kind of epochs; a run that was killed goes on.

    python examples/zf_cifar10/training.py --data ../shared/cifar10 [--seeds 5] [--only alexnet zf]

Trains one network after the other and skips those that are there. A run is a folder, `build/zf_cifar10/NETWORK-SEED`,
with a state dict for each checkpoint, `epoch-000.safetensors` (untrained) to `epoch-040.safetensors`. Until the last is
there, `resume.pt` holds the weights and the optimiser after the last whole epoch. All random numbers of an epoch follow
from the seed and the epoch, so on one machine a run that was killed ends with the same bits as one that was not.

*Source*: Zeiler & Fergus (2013), section 3: stochastic gradient descent, batches of 128, momentum 0.9, a learning
rate of 0.01, dropout of 0.5, mirrored and shifted crops, inputs of about [-128, 128], filters renormalised to an RMS of
0.1.
*Differs*: the learning rate falls to a tenth in the last quarter of the epochs, not by hand; each channel's mean is
subtracted, not each pixel's; 40 epochs, not 70.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from networks import CLIPPED, SHAPES, SIDE, make
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from backlight import Preprocessing, renormalise_filters_
from backlight.images import ImageSource, open_images
from backlight.storage import replacing

FOLDER = Path(__file__).parents[2] / "build" / "zf_cifar10"
DATA = Path(__file__).parents[3] / "shared" / "cifar10"
COMPARED = ("alexnet", "zf", "zf_clipped")
MEAN = (0.491, 0.482, 0.447)
PREPROCESSING = Preprocessing(None, (SIDE, SIDE), MEAN, (1 / 255,) * 3)
"""How the networks see a picture: pixels of 0 to 255 less the mean."""


@dataclass(frozen=True)
class Settings:
    """How networks are trained.

    Attributes:
        epochs: Passes over the training images.
        rate: Learning rate until the last quarter of the epochs.
        batch: Images of one step.
        limit: The largest RMS of a convolution's filter, for the networks that are renormalised.
        saved: After which epochs, beside the last, weights are kept.
    """

    epochs: int = 40
    rate: float = 0.01
    batch: int = 128
    limit: float = 0.1
    saved: tuple[int, ...] = (1, 2, 5, 10, 20, 30, 40, 64)

    def rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        return self.rate * (0.1 if epoch > self.epochs * 3 / 4 else 1.0)


@dataclass(frozen=True)
class Run:
    """One network of one seed, and its folder.

    Attributes:
        name: The network, a name of `networks.SHAPES`.
        seed: Of its weights, and of the order, the changes and the dropout of its images.
        settings: How it is trained.
        folder: Where the folders of all runs are.
    """

    name: str
    seed: int
    settings: Settings = field(default_factory=Settings)
    folder: Path = FOLDER

    @property
    def place(self) -> Path:
        """The run's own folder."""
        return self.folder / f"{self.name}-{self.seed}"

    def checkpoint(self, epoch: int) -> Path:
        """Return the file of the weights after an epoch; 0 is before the first."""
        return self.place / f"epoch-{epoch:03d}.safetensors"

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints that are there, by epoch."""
        return {int(path.stem[6:]): path for path in sorted(self.place.glob("epoch-*.safetensors"))}

    @property
    def is_done(self) -> bool:
        """Whether the last epoch's weights are there."""
        return self.checkpoint(self.settings.epochs).is_file()

    def model(self, epoch: int | None = None) -> nn.Sequential:
        """Return the network after an epoch, the last for None, ready for use."""
        model = make(self.name)
        model.load_state_dict(load_file(self.checkpoint(self.settings.epochs if epoch is None else epoch)))
        return model.eval()


def _class(label: str | None, source: ImageSource) -> int:
    """Return the number of a class: a shard's own, or the place of its name in the file `classes.txt` beside it."""
    names = getattr(source, "class_names", ())
    return names.index(label) if label in names else int(label or 0)


def load_images(data: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return the images of `train` or `test` as the networks see them (n, 3, 32, 32), and their classes (n,)."""
    shards = sorted(data.glob(f"cifar10-{part}-*.tar"))
    if not shards:
        raise SystemExit(f"no shards cifar10-{part}-*.tar in {str(data)!r}; give their folder with --data")
    sources = [open_images(str(shard)) for shard in shards]
    pictures = [np.asarray(source.load(i)) for source in sources for i in range(len(source))]
    labels = [_class(record.label, source) for source in sources for record in source.records]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return x - 255 * torch.tensor(MEAN)[:, None, None], torch.tensor(labels)


def train(run: Run, data: tuple[Tensor, Tensor], most: int | None = None) -> None:
    """Train a run's network to its last epoch, from its last whole one.

    Args:
        run: Network, seed and settings; one that is done is left as it is.
        data: Images (n, 3, 32, 32) and classes (n,).
        most: End after so many epochs more; None for all. The next call goes on.

    Raises:
        SystemExit: The folder holds a run of other settings, or the loss is not finite.
    """
    settings = run.settings
    _check_settings(run)
    if run.is_done:
        return
    torch.manual_seed(run.seed)
    model = make(run.name).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), settings.rate, momentum=0.9)
    losses: list[float] = []
    if (run.place / "resume.pt").is_file():
        kept = torch.load(run.place / "resume.pt", weights_only=True)
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        losses = kept["losses"]
    else:
        _save_weights(model, run.checkpoint(0))
    for epoch in range(len(losses) + 1, settings.epochs + 1)[:most]:
        losses.append(train_epoch(model, optimiser, data, run, epoch))
        # Weights first: a kill between both files repeats this epoch, and writes the same again.
        if epoch in settings.saved or epoch == settings.epochs:
            _save_weights(model, run.checkpoint(epoch))
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses}
        with replacing(run.place / "resume.pt") as (fresh,):
            torch.save(state, fresh)
    if run.is_done:
        (run.place / "resume.pt").unlink()


def train_epoch(
    model: nn.Module, optimiser: torch.optim.Optimizer, data: tuple[Tensor, Tensor], run: Run, epoch: int
) -> float:
    """Train for one epoch, and return its mean loss."""
    settings = run.settings
    own_seed = 1000 * run.seed + epoch
    torch.manual_seed(own_seed)  # of dropout
    for group in optimiser.param_groups:
        group["lr"] = settings.rate_of(epoch)
    model.train()
    losses = []
    for x, y in _batches(data, settings.batch, torch.Generator().manual_seed(own_seed)):
        loss = functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if run.name in CLIPPED:
            renormalise_filters_(model, settings.limit)
        losses.append(loss.item())
    mean = float(np.mean(losses))
    if not np.isfinite(mean):
        raise SystemExit(
            f"{run.name}, seed {run.seed}: the loss is not finite in epoch {epoch}; lower --rate"
        )
    return mean


def _batches(
    data: tuple[Tensor, Tensor], size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield whole batches in a random order, half of the images mirrored, all shifted together by up to 4 pixels."""
    x, y = data
    for ids in torch.randperm(len(x), generator=generator).split(size):
        if len(ids) < size:
            return
        mirrored = torch.rand(size, generator=generator) < 0.5
        own = torch.where(mirrored[:, None, None, None], x[ids].flip(3), x[ids])
        top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
        own = functional.pad(own, [4] * 4)[..., top : top + SIDE, left : left + SIDE]
        yield own.contiguous(memory_format=torch.channels_last), y[ids]


def _save_weights(model: nn.Module, path: Path) -> None:
    with replacing(path) as (fresh,):
        save_file({name: own.contiguous() for name, own in model.state_dict().items()}, fresh)


def _check_settings(run: Run) -> None:
    """Write the settings into a fresh folder; in one that is there they must be the same."""
    path, asked = run.place / "settings.json", json.dumps(asdict(run.settings))
    if not path.is_file():
        run.place.mkdir(parents=True, exist_ok=True)
        with replacing(path) as (fresh,):
            fresh.write_text(asked)
    elif path.read_text() != asked:
        raise SystemExit(
            f"{run.place} holds a run of other settings, {path.read_text()}; give another --folder"
        )


def main() -> None:
    """Read the command line and train what is not there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tar shards")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the runs")
    parser.add_argument("--only", nargs="*", default=list(COMPARED), choices=list(SHAPES), metavar="NETWORK")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--rate", type=float, default=Settings.rate)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # with more, sums are added in an order that depends on the machine
    settings = Settings(asked.epochs, asked.rate)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    runs = [Run(name, seed, settings, asked.folder) for seed in seeds for name in asked.only]
    wanted = [run for run in runs if not run.is_done]
    data = load_images(asked.data, "train") if wanted else None
    for run in wanted:
        assert data is not None
        train(run, data)
        print(f"{run.place}: trained", flush=True)


if __name__ == "__main__":
    main()
