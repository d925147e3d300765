"""What the paper found wrong with AlexNet, in numbers, for every network that is trained.

    python examples/zf_cifar10/measures.py --data ../shared/cifar10

Adds a row for each run in `build/zf_cifar10` to results.json, and one for each of its untrained networks; rows that are
there are kept. `table.py` makes tables of them.

*Source*: Zeiler & Fergus (2013), section 4.1 and Figure 6, which show pictures; the measures are Backlight's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from networks import SHAPES, SIDE
from torch import Tensor, nn
from torch.nn import functional
from training import COMPARED, DATA, FOLDER, PREPROCESSING, Run, Settings, load_images

from backlight import Network, Unit, capture, project, scan
from backlight.network import Layer
from backlight.storage import replacing

RESULTS = Path(__file__).parent / "results.json"
BANDS = {"low": (0, 1 / 6), "mid": (1 / 6, 1 / 3), "high": (1 / 3, 1)}
"""Thirds of the frequencies up to half a cycle per pixel, the last with the corners of the spectrum, by radius."""
N_FFT = 32
N_DENSE, N_HITS = 500, 3


def measure(
    run: Run, epoch: int, test: tuple[Tensor, Tensor], train: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """Return all measures of a run's network after an epoch, as plain JSON."""
    model = run.model(epoch)
    first = model.conv1
    assert isinstance(first, nn.Conv2d)
    net = capture(model, (3, SIDE, SIDE), PREPROCESSING)
    stride = first.stride[0]
    projections = project_hits(net, _rectified(net)["relu2"], test[0])
    return {
        "network": run.name,
        "seed": run.seed,
        "epoch": epoch,
        "accuracy": accuracy(model, test),
        "train_accuracy": accuracy(model, train),
        "accuracies": {str(at): accuracy(run.model(at), test) for at in run.checkpoints if 0 < at <= epoch},
        "dead": dead_maps(net, test[0]),
        "energy": energy_by_band(first.weight.detach()),
        "peaks": peaks_by_band(first.weight.detach()),
        "folded": folded_energy(first, test[0][:N_DENSE]),
        "grid": grid_energy(projections, stride),
        "grid_of_4": grid_energy(projections, 4),
        "rms": {name: filter_rms(layer, run.settings.limit) for name, layer in _convolutions(model).items()},
    }


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the share of images whose class a network finds."""
    x, y = data
    found = torch.cat([model(part).argmax(1) for part in x.split(500)])
    return round((found == y).double().mean().item(), 5)


def dead_maps(net: Network, x: Tensor) -> dict[str, list[int]]:
    """Return for each rectified layer how many maps are never above zero, and how many there are."""
    layers = _rectified(net)
    found = scan(net, x, [layer.name for layer in layers.values()], 1, batch_size=500, compile="off")
    active = {short: found.layers[layer.name].statistics.n_active for short, layer in layers.items()}
    return {short: [int((own == 0).sum()), len(own)] for short, own in active.items()}


def spectra(planes: Tensor, size: int = N_FFT) -> Tensor:
    """Return the power of each frequency, summed over channels: (n, c, h, w) to (n, size, size)."""
    return torch.fft.fft2(planes, s=(size, size)).abs().square().sum(1)


def frequencies(size: int = N_FFT) -> Tensor:
    """Return for each bin of a spectrum the size of its frequency along either axis, cycles per pixel (2, s, s)."""
    axis = torch.fft.fftfreq(size).abs()
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"))


def energy_by_band(filters: Tensor) -> dict[str, float]:
    """Return the share of the filters' energy in each band, the mean over filters (n, c, h, w) of any scale."""
    power, radius = spectra(filters), frequencies().norm(dim=0)
    power = power / power.sum((1, 2), keepdim=True)
    inside = {name: (radius >= low) & (radius < high) for name, (low, high) in BANDS.items()}
    return {name: round(power[:, own].sum(1).mean().item(), 5) for name, own in inside.items()}


def peaks_by_band(filters: Tensor) -> dict[str, int]:
    """Return how many filters (n, c, h, w) have their strongest frequency in each band."""
    radius = frequencies().norm(dim=0).flatten()[spectra(filters).flatten(1).argmax(1)]
    return {name: int(((radius >= low) & (radius < high)).sum()) for name, (low, high) in BANDS.items()}


@torch.no_grad()
def folded_energy(first: nn.Conv2d, x: Tensor) -> float:
    """Return the share of the first layer's energy that its stride folds onto other frequencies, the mean over maps.

    The layer is run with a stride of 1, and counted is what lies above half a cycle per step of its own stride, along
    rows or columns: with the stride, it cannot be told from lower frequencies. Constant parts do not count.
    """
    dense = functional.conv2d(x, first.weight)  # no padding: its edges are of high frequency
    dense = dense - dense.mean((2, 3), keepdim=True)
    side = dense.shape[-1]
    window = torch.hann_window(side + 2, periodic=False)[1:-1]  # else the wrap from edge to edge counts
    power = torch.fft.fft2(dense * window[:, None] * window).abs().square().sum(0)  # (maps, side, side)
    folds = frequencies(side).amax(0) > 1 / (2 * first.stride[0])
    return round((power[:, folds].sum(1) / power.sum((1, 2))).mean().item(), 5)


def project_hits(net: Network, layer: Layer, x: Tensor) -> Tensor:
    """Return the projections of the strongest activations of every map that has any (n, c, h, w)."""
    hits = scan(net, x, [layer.name], N_HITS, batch_size=500, compile="off").layers[layer.name].hits
    alive = (hits.values > 0).nonzero()
    units = [Unit(layer.name, int(c), *map(int, hits.places[c, i])) for c, i in zip(*alive, strict=True)]
    return project(net, x[torch.from_numpy(hits.image_ids[alive])], units)


def grid_energy(projections: Tensor, step: int) -> float | None:
    """Return how much stronger projections are at a grid's frequency than beside it: 1 where there is no grid.

    The power at one cycle per `step` pixels along rows, and along columns, is divided by the mean of the two
    frequencies on either side of it: the mean over both axes, of the spectra of all projections (n, c, h, w), each of
    the same total; None where all are empty.
    """
    projections = projections[projections.flatten(1).any(1)]
    if not len(projections):  # every map is dead
        return None
    size = projections.shape[-1]
    power = spectra(projections, size)
    mean = (power / power.sum((1, 2), keepdim=True)).mean(0)
    place, ratios = size // step, []
    for axis in (
        mean[:, 0],
        mean[0],
    ):  # images have much of their energy there, so what is beside is on the axis too
        around = axis.roll(2 - place)[:5]  # beyond the end of the spectrum comes its other end
        ratios.append(around[2] / ((around.sum() - around[2]) / 4))
    return round(torch.stack(ratios).mean().item(), 5)


def filter_rms(layer: nn.Conv2d, limit: float) -> dict[str, float]:
    """Return the median and largest RMS of a layer's filters, and how many reach the limit."""
    rms = layer.weight.detach().double().square().mean((1, 2, 3)).sqrt()
    at_limit = int((rms > limit * (1 - 1e-4)).sum())
    return {
        "median": round(float(rms.median()), 6),
        "largest": round(float(rms.max()), 6),
        "at_limit": at_limit,
    }


def _rectified(net: Network) -> dict[str, Layer]:
    """Return the rectified layers by the names of their modules."""
    return {layer.name.split(".")[0]: layer for layer in net.layers if layer.name.startswith("relu")}


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: layer for name, layer in model.named_children() if isinstance(layer, nn.Conv2d)}


def write(rows: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Write the rows, one a line, the networks in the order of `networks.SHAPES`."""
    names = list(SHAPES)
    ordered = sorted(rows, key=lambda row: (names.index(row["network"]), row["seed"], row["epoch"]))
    with replacing(path) as (fresh,):
        fresh.write_text("[\n" + ",\n".join(map(json.dumps, ordered)) + "\n]\n")


def main() -> None:
    """Read the command line and measure what is trained and has no row yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tar shards")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=Settings.epochs, help="as they were trained")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the rows")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(asked.results.read_text()) if asked.results.is_file() else []
    test, train = load_images(asked.data, "test"), load_images(asked.data, "train")
    for place in sorted(asked.folder.glob("*-*")):
        name, _, seed = place.name.rpartition("-")
        run = Run(name, int(seed), Settings(asked.epochs), asked.folder)
        # The untrained networks are a yardstick for those that are compared; both kinds of zf begin as the same.
        epochs = [0, asked.epochs] if name in COMPARED[:2] else [asked.epochs]
        for epoch in epochs if run.is_done else []:
            if (name, run.seed, epoch) not in {(row["network"], row["seed"], row["epoch"]) for row in rows}:
                rows.append(measure(run, epoch, test, train))
                write(rows, asked.results)
                print(f"{place.name}, epoch {epoch}: {rows[-1]['accuracy']:.1%}", flush=True)


if __name__ == "__main__":
    main()
