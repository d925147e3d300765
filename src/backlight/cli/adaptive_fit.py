"""`backlight adaptive fit`: a network that learns, without labels, to reconstruct images, layer upon layer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from backlight.adaptive import (
    PRESETS,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    EpochMeasure,
    Learning,
    TrainingImages,
    prepare_all,
)
from backlight.adaptive.files import is_finished
from backlight.cli.allocation import keep_freed_memory
from backlight.cli.options import Device, on_device, parse_size
from backlight.cli.output import (
    Report,
    console,
    errors,
    print_command,
    print_skipped,
    progress_bars,
    styled,
)
from backlight.errors import BadInputError
from backlight.images import ImageSource, Skipped, open_images
from backlight.storage import check_place, locked, sweep

_SUFFIX = ".adn"
_FLOAT_BYTES = 4

Images = Annotated[
    str, typer.Argument(metavar="IMAGES", help="A folder, a list file, tar shards, a saved dataset.")
]
HowMany = Annotated[
    int | None, typer.Option("--images", help="Only so many of the images, drawn at random; else all.")
]
Batch = Annotated[int, typer.Option("--batch", help="Images at a time.")]


def fit(
    images: Images,
    output: Annotated[Path, typer.Option("--output", "-o", help="The network to write (.adn).")],
    preset: Annotated[
        str,
        typer.Option(
            "--preset", help="paper (4 layers, 150x150), two-layers (its first two), small (64x64)."
        ),
    ] = "paper",
    n_images: HowMany = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Of each layer.")] = 10,
    cg_steps: Annotated[
        int, typer.Option("--cg-steps", help="Conjugate-gradient steps on the filters in each epoch.")
    ] = 2,
    batch: Batch = 16,
    size: Annotated[
        str | None, typer.Option("--size", help="Size of the pictures: 150 or 120x160; else the preset's.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the first filters and of what --images draws.")] = 0,
    device: Device = "cpu",
    memory: Annotated[
        float, typer.Option("--memory", help="GB that images and codes may take before they go to files.")
    ] = 4.0,
) -> None:
    """Learn a network from images, without labels: each layer learns to reconstruct the images themselves.

    A training that was stopped, by whatever, goes on after its last epoch when the same command runs again.

    Until it is done, it keeps itself beside the network in a file that ends in .part.
    """
    keep_freed_memory()
    part = output.with_name(output.name + ".part")
    _check_new(output, part)
    config = _config(preset, size)
    if not memory >= 0:
        raise BadInputError(f"--memory is a number of GB, at least 0, but came {memory:g}")
    learning = Learning(epochs, cg_steps, batch, seed)
    net = on_device(AdaptiveDeconvNet(config, seed), device)
    source = open_images(images)
    ids = drawn(source, n_images, seed)
    for_images = len(ids) * config.channels * prod(config.size) * _FLOAT_BYTES
    bound = round(memory * 1e9)
    learning = replace(learning, memory_bytes=bound - for_images if for_images <= bound else bound)
    _announce(config, learning, len(ids), for_images + _code_bytes(config, len(ids)) > bound)
    if part.exists():
        console.print(f"going on with {part}", soft_wrap=True)
    with locked(output), progress_bars() as report:
        for own in (output, part):
            sweep(own)
        ready = prepare_all(config, source, ids, bound, report)
        net.fit(ready.array, learning, _Reported(report), part, _fingerprint(source, ready))
        _write(net, output, part)
    part.unlink(
        missing_ok=True
    )  # the last thing of all: until then the same command ends what a kill has left
    _summarise(net, output, images, ready.skipped)


@dataclass
class _Reported:
    """A training's progress, each layer's shown with its last measure."""

    report: Report
    notes: dict[str, str] = field(default_factory=dict)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.report(phase, done, total, self.notes.get(phase, ""))

    def measured(self, measure: EpochMeasure) -> None:
        note = f"error {measure.error:.1%}, {measure.active_share:.2%} active"
        self.notes[f"layer {measure.layer}"] = note


def _check_new(output: Path, part: Path) -> None:
    """Refuse a network that cannot be written, or would replace another, before any work is done."""
    if output.suffix != _SUFFIX:
        raise BadInputError(f"an adaptive network is written as {_SUFFIX}, but came {str(output)!r}")
    check_place(output, "network")
    if output.exists() and not part.exists():
        raise BadInputError(f"{str(output)!r} is there already; remove it, or write another")
    if output.exists() and not is_finished(part):
        raise BadInputError(
            f"{str(output)!r} is there already, and so is the unfinished training {part.name}; remove the network to "
            "go on with the training, or write another"
        )


def _write(net: AdaptiveDeconvNet, output: Path, part: Path) -> None:
    """Write the network; one that a killed run has written already must be the same."""
    if output.exists():
        known = AdaptiveDeconvNet.load(output)
        same = known.config == net.config and known.history == net.history
        if not same or not all(map(torch.equal, known.filters, net.filters)):
            raise BadInputError(
                f"{str(output)!r} is another network than the one of {part.name}; remove either of them"
            )
    net.save(output)


def _config(preset: str, size: str | None) -> AdaptiveConfig:
    if preset not in PRESETS:
        raise BadInputError(f"no preset {preset!r}; known are {', '.join(PRESETS)}")
    return PRESETS[preset] if size is None else replace(PRESETS[preset], size=parse_size(size))


def drawn(source: ImageSource, n_images: int | None, seed: int) -> list[int]:
    """Return the ids of so many images of a source, drawn at random, in order.

    Raises:
        BadInputError: Less than 1 is asked for.
    """
    if n_images is not None and n_images < 1:
        raise BadInputError(f"--images is at least 1, but came {n_images}")
    if n_images is None or n_images >= len(source):
        return list(range(len(source)))
    return sorted(np.random.default_rng(seed).permutation(len(source))[:n_images].tolist())


def _fingerprint(source: ImageSource, ready: TrainingImages) -> str:
    return hashlib.sha256(f"{source.fingerprint()} {ready.ids}".encode()).hexdigest()


def _code_bytes(config: AdaptiveConfig, n_images: int) -> int:
    """Return what the codes of a whole set take: the values of one layer, the switches of all."""
    counts = [prod(shape) for shape in config.pooled_shapes()]
    return n_images * (_FLOAT_BYTES * max(counts) + sum(counts))


def _announce(config: AdaptiveConfig, learning: Learning, n_images: int, is_large: bool) -> None:
    maps = ", ".join(str(layer.maps) for layer in config.layers)
    height, width = config.size
    console.print(
        f"{n_images} images of {height}x{width}, {len(config.layers)} layers of {maps} feature maps, "
        f"{learning.epochs} epochs each with {learning.cg_steps} steps on the filters",
        soft_wrap=True,
    )
    if is_large:
        console.print("images and codes are larger than --memory, so they go to temporary files")


def _summarise(net: AdaptiveDeconvNet, output: Path, images: str, skipped: Sequence[Skipped]) -> None:
    last = {measure.layer: measure for measure in net.history}
    for layer, measure in sorted(last.items()):
        console.print(
            styled(
                "[bold]layer {}[/]: relative error {:.1%}, {:.2%} of values active",
                *(layer, measure.error, measure.active_share),
            )
        )
        if not measure.active_share:
            errors.print(
                styled(
                    "[yellow]note:[/] nothing is active in layer {}; a layer of larger weight would be", layer
                ),
                soft_wrap=True,
            )
    console.print(f"{output}", soft_wrap=True)
    print_skipped(skipped)
    console.print()
    print_command("backlight", "adaptive", "show", output, images, "-o", f"{output.stem}-pictures")
