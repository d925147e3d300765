"""`backlight adaptive fit`: a network that learns, without labels, to reconstruct images, layer upon layer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import console, note, print_command, print_skipped, progress_bars, say
from backlight.cli.parsing import parse_size
from backlight.errors import BadInputError
from backlight.progress.bars import Report
from backlight.storage import check_place, locked, sweep
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, EpochMeasure, Learning, TrainingImages
    from backlight.images import ImageSource, Skipped

_SUFFIX = ".adn"
_FLOAT_BYTES = 4


def fit(
    images: flags.ImagesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The network to write (.adn).")],
    preset: Annotated[
        str,
        typer.Option(
            "--preset", help="paper (4 layers, 150x150), two-layers (its first two), small (64x64)."
        ),
    ] = "paper",
    n_images: flags.HowMany = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Epochs for each layer.")] = 10,
    cg_steps: Annotated[
        int, typer.Option("--cg-steps", help="Conjugate-gradient steps on the filters in each epoch.")
    ] = 2,
    batch: flags.Batch = 16,
    size: Annotated[
        str | None,
        typer.Option("--size", help="Size of the pictures: 150 or 120x160; defaults to the preset's."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed for the first filters and for the sample of --images.")
    ] = 0,
    device: flags.Device = "cpu",
    memory: Annotated[
        float,
        typer.Option("--memory", help="GB of memory for images and codes before they are kept in files."),
    ] = 4.0,
) -> None:
    """Learn a network from images, without labels.

    Each layer learns to reconstruct the images themselves. An interrupted training resumes after its last epoch when
    you rerun the command.

    Until it is done, it is kept beside the network in a file that ends in .part.
    """
    part = output.with_name(output.name + ".part")
    _check_new(output, part)
    if not memory >= 0:
        raise BadInputError(f"--memory is a number of GB, at least 0, got {memory:g}")
    from backlight.adaptive import AdaptiveDeconvNet, Learning, prepare_all
    from backlight.cli.allocation import keep_freed_memory
    from backlight.cli.models import on_device, sample_ids
    from backlight.images import open_images

    keep_freed_memory()
    config = _config(preset, size)
    learning = Learning(epochs, cg_steps, batch, seed)
    net = on_device(AdaptiveDeconvNet(config, seed), device)
    source = open_images(images)
    ids = sample_ids(source, n_images, seed)
    for_images = len(ids) * config.channels * prod(config.size) * _FLOAT_BYTES
    bound = round(memory * 1e9)
    learning = replace(learning, memory_bytes=bound - for_images if for_images <= bound else bound)
    _announce(config, learning, len(ids), for_images + _code_bytes(config, len(ids)) > bound)
    if part.exists():
        say("resuming from {}", part)
    with locked(output), progress_bars() as report:
        for own in (output, part):
            sweep(own)
        ready = prepare_all(config, source, ids, bound, report)
        net.fit(ready.array, learning, _Reported(report), part, _fingerprint(source, ready))
        _write(net, output, part)
    # Last of all: until then the same command finishes what a kill has left.
    part.unlink(missing_ok=True)
    _summarise(net, output, images, ready.skipped)


@dataclass
class _Reported:
    """A training's progress, each layer's shown with its last measure."""

    report: Report
    notes: dict[str, str] = field(default_factory=dict)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.report(phase, done, total, self.notes.get(phase, ""))

    def measured(self, measure: EpochMeasure) -> None:
        self.notes[f"layer {measure.layer}"] = f"error {measure.error:.1%}, {measure.active_share:.2%} active"


def _check_new(output: Path, part: Path) -> None:
    """Refuse a network that cannot be written, or would replace another, before any work is done."""
    if output.suffix != _SUFFIX:
        raise BadInputError(f"an adaptive network is written as {_SUFFIX}, got {str(output)!r}")
    check_place(output, "network")
    if not output.exists():
        return
    if not part.exists():
        raise BadInputError(f"{str(output)!r} exists already; remove it, or choose another name")
    from backlight.adaptive.files import is_finished

    if not is_finished(part):
        raise BadInputError(
            f"{str(output)!r} exists already, and so does the unfinished training {part.name}; remove the network to "
            "resume the training, or choose another name"
        )


def _write(net: AdaptiveDeconvNet, output: Path, part: Path) -> None:
    """Write the network; one that a killed run has written already must be the same."""
    if output.exists():
        import torch

        from backlight.adaptive import AdaptiveDeconvNet

        known = AdaptiveDeconvNet.load(output)
        same = known.config == net.config and known.history == net.history
        if not same or not all(map(torch.equal, known.filters, net.filters)):
            raise BadInputError(
                f"{str(output)!r} is another network than that of {part.name}; remove one of them"
            )
    net.save(output)


def _config(preset: str, size: str | None) -> AdaptiveConfig:
    from backlight.adaptive import PRESETS

    if preset not in PRESETS:
        raise BadInputError(f"no preset {preset!r}; presets are {', '.join(PRESETS)}")
    return PRESETS[preset] if size is None else replace(PRESETS[preset], size=parse_size(size))


def _fingerprint(source: ImageSource, ready: TrainingImages) -> str:
    return hashlib.sha256(f"{source.fingerprint()} {ready.ids}".encode()).hexdigest()


def _code_bytes(config: AdaptiveConfig, n_images: int) -> int:
    """Return what the codes of a whole set take: the values of one layer, the switches of all."""
    counts = [prod(shape) for shape in config.pooled_shapes()]
    return n_images * (_FLOAT_BYTES * max(counts) + sum(counts))


def _announce(config: AdaptiveConfig, learning: Learning, n_images: int, is_large: bool) -> None:
    maps = ", ".join(str(layer.maps) for layer in config.layers)
    height, width = config.size
    say(
        "{} of {}x{}, {} of {} feature maps, {} each with {} on the filters",
        *(counted(n_images, "image"), height, width, counted(len(config.layers), "layer"), maps),
        *(counted(learning.epochs, "epoch"), counted(learning.cg_steps, "step")),
    )
    if is_large:
        console.print("images and codes are larger than --memory, so they are kept in temporary files")


def _summarise(net: AdaptiveDeconvNet, output: Path, images: str, skipped: Sequence[Skipped]) -> None:
    # Of the learned layers, not of their last epochs: this is what the file gives when it is loaded.
    for own in net.measures:
        say(
            "[bold]layer {}[/]: relative error {:.1%} on these images ({:.1%} with --values shrunk), "
            "{:.2%} of values active",
            *(own.layer, own.error, own.shrunk_error, own.active_share),
        )
        if not own.active_share:
            note(f"nothing is active in layer {own.layer}; try a larger weight")
    say("{}", output)
    print_skipped(skipped)
    console.print()
    print_command("backlight", "adaptive", "show", output, images, "-o", f"{output.stem}-pictures")
