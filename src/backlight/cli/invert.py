"""`backlight invert`: from the code of a layer back to an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.text import Text
from torch import Tensor

from backlight.cli.allocation import keep_freed_memory
from backlight.cli.options import (
    ClassOutput,
    Device,
    Mean,
    ModelArgument,
    Output,
    Resize,
    Size,
    Std,
    ValueRange,
    Weights,
    check_output,
    check_plot,
    load_network,
    parse_channels,
    parse_layers_of,
    save_picture,
    say_class_output,
)
from backlight.cli.output import EXIT_STOPPED, Report, console, errors, print_skipped, progress_bars, styled
from backlight.errors import BadInputError
from backlight.images import Skipped, load_batches, load_numbers, open_images
from backlight.inversion import (
    MOST_PHOTOGRAPHS,
    Inversion,
    InversionConfig,
    animate,
    caricature,
    check,
    figure,
    maximise,
)
from backlight.inversion import invert as invert_code
from backlight.inversion.pictures import ANIMATED
from backlight.network import Layer, Network
from backlight.projection import Unit
from backlight.storage import check_place

_N_LAYERS = 8
_FRAMES = 40

Goal = Literal["invert", "caricature", "maximise"]


def invert(
    model: ModelArgument,
    image: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGE", help="A picture, or a code as .npy; none for --goal maximise."),
    ] = None,
    *,
    output: Output,
    layers: Annotated[
        str,
        typer.Option("--layers", help="Names with commas, all, or default: up to 8, spread over the depth."),
    ] = "default",
    goal: Annotated[
        Goal,
        typer.Option(
            "--goal", help="An image of the same code, one of more of it, or one that excites a map."
        ),
    ] = "invert",
    recipe: Annotated[str, typer.Option("--recipe", help="default, cvpr2015 or ijcv2016.")] = "default",
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", help="Weight of the code, C; for cvpr2015 of the total variation, lambda."
        ),
    ] = None,
    restarts: Annotated[int, typer.Option("--restarts", help="Searches from so many starts.")] = 1,
    channels: Annotated[
        str | None, typer.Option("--channels", help="Only these feature maps count; to maximise, these.")
    ] = None,
    centre: Annotated[
        int | None, typer.Option("--centre", help="Only so many units a side in the middle count.")
    ] = None,
    photographs: Annotated[
        str | None,
        typer.Option("--photographs", help="A folder of photographs, whose distances normalise the error."),
    ] = None,
    animation: Annotated[
        Path | None, typer.Option("--animation", help="Also write the way there (.webp, .gif).")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Also write the numbers: to SAVE-LAYER.json and SAVE-LAYER.npz."),
    ] = None,
    class_output: ClassOutput = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the starts.")] = 0,
    weights: Weights = None,
    device: Device = "cpu",
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Search for images that a layer codes as it does the one given: what differs, the layer has thrown away."""
    keep_freed_memory()
    check_output(output)
    _check_animation(animation)
    check_plot(None, save)
    if (image is None) != (goal == "maximise"):
        raise BadInputError("an IMAGE is given to invert and for a caricature, none with --goal maximise")
    maps = tuple(parse_channels(channels)) if channels is not None else None
    if goal == "maximise" and (maps is None or centre is not None):
        raise BadInputError(
            "with --goal maximise, --channels names the feature maps, and --centre has no meaning"
        )
    if photographs is not None and goal != "invert":
        raise BadInputError("--photographs normalise the error of an inversion; other goals have none")
    given = _read(image)
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    frames = _FRAMES if animation is not None else 0
    config = InversionConfig(
        recipe,
        strength,
        restarts,
        seed,
        channels=maps,
        centre=centre,
        frames=frames,
        output=class_output,
    )
    say_class_output(net, class_output, always=False)
    names = parse_layers_of(net, layers) or _spread_layers(net, config, isinstance(given, np.ndarray))
    for name in names:
        check(net, name, config)
    known = _read_photographs(photographs, net)
    tasks: list[tuple[str, int | None]]
    tasks = [(name, own) for name in names for own in (maps if goal == "maximise" and maps else [None])]

    def search(task: tuple[str, int | None], report: Report) -> Inversion:
        layer, channel = task
        progress = _Reported(report, _name(task), goal)
        if channel is not None:
            return maximise(net, Unit(layer, channel), replace(config, channels=None), progress=progress)
        assert given is not None
        if goal == "caricature":
            return caricature(net, _as_image(given), layer, config, progress)
        return invert_code(net, given, layer, config, known, progress)

    results: list[Inversion] = []
    try:
        with progress_bars(resumes=False) as report:
            stopped = _run(tasks, search, report, results, save)
    finally:  # an error or Ctrl-C in a later layer loses nothing of those before
        if results:
            _write(results, output, animation)
    if stopped:
        errors.print("stopped; the best so far is kept", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED)


def _run(
    tasks: Sequence[tuple[str, int | None]],
    search: Callable[[tuple[str, int | None], Report], Inversion],
    report: Report,
    results: list[Inversion],
    save: Path | None,
) -> bool:
    """Put what is found into results, each saved as soon as it is there; return whether Ctrl-C ended it."""
    try:
        for task in tasks:
            found = search(task, report)
            results.append(found)
            n_steps = found.curves.shape[1]
            report(_name(task), n_steps, n_steps)  # a search that ended early is done
            if save is not None:
                found.save(f"{save}-{_name(task)}")
            if found.stopped == "interrupted":
                return True
    except KeyboardInterrupt:  # between two searches
        if not results:
            raise
        return True
    return False


@dataclass
class _Reported:
    """A search's progress, shown with the error so far."""

    report: Report
    name: str
    goal: Goal
    note: str = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.report(self.name, done, total, self.note)

    def error(self, value: float) -> None:
        self.note = f"error {value:.1%}" if self.goal == "invert" else f"product {value:.3g}"


def _name(task: tuple[str, int | None]) -> str:
    layer, channel = task
    return layer if channel is None else f"{layer}-{channel}"


def _write(results: list[Inversion], output: Path, animation: Path | None) -> None:
    for result in results:
        console.print(_line(result), soft_wrap=True)
    picture = figure(results)
    save_picture(picture, output)
    console.print(f"{output} ({picture.width}x{picture.height})", soft_wrap=True)
    if animation is not None:
        animate(results, animation)
        console.print(f"{animation}", soft_wrap=True)


def _line(result: Inversion) -> Text:
    what = f", {result.title}" if result.goal == "maximise" else ""
    return styled("[bold]{}[/]{}: {}", result.layer, what, _found(result))


def _found(result: Inversion) -> str:
    steps = f"{result.curves.shape[1]} steps, {result.stopped}"
    if result.goal != "invert":
        product = -result.goals[result.best]
        silent = "" if product > 0 else "; it stays silent: try more --restarts, or the layer before"
        return f"inner product {product:.4g} ({steps}){silent}"
    text = f"relative error {result.relative_errors[result.best]:.1%}"
    if result.normalised_errors is not None and result.squared_errors is not None:
        normalised, squared = (own[result.best] for own in (result.normalised_errors, result.squared_errors))
        text += f", normalised {normalised:.1%}, squared form {squared:.1%}"
    same = result.same_label
    answer = "" if same is None else f"; {'the same' if same[result.best] else 'another'} answer"
    return f"{text}{answer} ({steps})"


def _spread_layers(net: Network, config: InversionConfig, is_code: bool) -> list[str]:
    """Return up to 8 of the default layers, first to last, and the network's output; of those that have what counts."""
    if is_code:
        raise BadInputError("a code belongs to one layer; name it with --layers")
    output = (net.leading_to(net.class_output(config.output).output) or net.layers)[-1]
    fitting = [layer.name for layer in (*net.default_layers, output) if _has_part(layer, config)]
    *names, last = fitting or [output.name]
    chosen = [names[round(i)] for i in np.linspace(0, len(names) - 1, min(_N_LAYERS - 1, len(names)))]
    return list(dict.fromkeys([*chosen, last]))


def _has_part(layer: Layer, config: InversionConfig) -> bool:
    """Return whether a layer has the channels and the units in the middle that are to count."""
    side = min(layer.shape[1:]) if layer.is_spatial else 0
    return max(config.channels or (0,)) < layer.n_maps and (config.centre is None or config.centre <= side)


def _read(image: Path | None) -> Path | NDArray[np.generic] | None:
    """Return a code from its file, and a picture as it came.

    Raises:
        BadInputError: The file of a code holds none.
    """
    if image is None or image.suffix != ".npy":
        return image
    found: NDArray[np.generic] = load_numbers(image)
    return found


def _as_image(given: Path | NDArray[np.generic]) -> Path:
    if isinstance(given, Path):
        return given
    raise BadInputError("a caricature is made of a picture, but came a code (.npy)")


def _read_photographs(folder: str | None, net: Network) -> Tensor | None:
    """Return as many photographs that can be read as count, or a few more, as inputs, and say which could not be."""
    if folder is None:
        return None
    source = open_images(folder)
    assert net.preprocessing is not None
    read: list[Tensor] = []
    skipped: list[Skipped] = []
    with closing(
        load_batches(source, net.preprocessing, range(len(source.records)), batch_size=10)
    ) as batches:
        for batch in batches:
            read.append(batch.tensor)
            skipped += batch.skipped
            if sum(map(len, read)) >= MOST_PHOTOGRAPHS:
                break
    print_skipped(skipped)
    found = torch.cat(read)
    if len(found) < 2:
        raise BadInputError(
            f"--photographs needs at least 2 pictures that can be read, but {folder!r} has {len(found)}"
        )
    return found


def _check_animation(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in ANIMATED:
        raise BadInputError(f"an animation is written as .webp or .gif, but came {str(path)!r}")
    if path is not None:
        check_place(path, "animation")
