"""`backlight invert`: from the activations of a layer back to an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import EXIT_STOPPED, errors, progress_bars
from backlight.cli.parsing import parse_channels
from backlight.cli.writing import check_plot, figure_path
from backlight.errors import BadInputError
from backlight.storage import check_place

if TYPE_CHECKING:
    from backlight.inversion import Inversion

_FRAMES = 40


def invert(
    model: flags.ModelArgument,
    image: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGE", help="A picture, or activations as .npy; none for --goal maximise."),
    ] = None,
    *,
    output: flags.Output = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            help="Layer names, separated by commas, or all; default: up to 8, spread over the depth.",
        ),
    ] = "default",
    goal: Annotated[
        flags.Goal,
        typer.Option(
            "--goal",
            help="An image with the same activations, a caricature that exaggerates them, or an image that maximises "
            "a feature map.",
        ),
    ] = "invert",
    recipe: Annotated[str, typer.Option("--recipe", help="default, wide, cvpr2015 or ijcv2016.")] = "default",
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            help="Weight of the activations, C; for cvpr2015 of the total variation, lambda.",
        ),
    ] = None,
    restarts: Annotated[int, typer.Option("--restarts", help="Random starts to search from.")] = 1,
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels", help="Match only these feature maps; with --goal maximise, maximise these."
        ),
    ] = None,
    centre: Annotated[
        int | None, typer.Option("--centre", help="Match only the central N x N units.")
    ] = None,
    photographs: Annotated[
        str | None,
        typer.Option("--photographs", help="A folder of photographs, whose distances normalise the error."),
    ] = None,
    atlas: Annotated[
        Path | None,
        typer.Option(
            "--atlas",
            help="With --goal maximise: an atlas with the maps' hits; says where a picture is unlike all of them.",
        ),
    ] = None,
    animation: Annotated[
        Path | None, typer.Option("--animation", help="Also save an animation of the search (.webp, .gif).")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Also write the numbers: to SAVE-LAYER.json and SAVE-LAYER.npz."),
    ] = None,
    class_output: flags.ClassOutput = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed for the starts.")] = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Reconstruct an image from a layer's activations.

    Differences from the image show what the layer discards.
    """
    output = figure_path(output, image.stem if image is not None else model, goal)
    _check_animation(animation)
    check_plot(None, save)
    maps = tuple(parse_channels(channels)) if channels is not None else None
    _check_goal(goal, image, maps, centre, photographs)
    if atlas is not None and goal != "maximise":
        raise BadInputError(
            "--atlas has the hits that a maximised picture is compared with; other goals have none"
        )
    from backlight import inversion
    from backlight.cli import models, searches
    from backlight.cli.allocation import keep_freed_memory

    keep_freed_memory()
    given = searches.read_given(image)
    net = models.load_network(model, weights, device, models.Overrides(size, resize, mean, std, value_range))
    config = inversion.InversionConfig(
        recipe,
        strength,
        restarts,
        seed,
        channels=maps,
        centre=centre,
        frames=_FRAMES if animation is not None else 0,
        output=class_output,
    )
    models.say_class_output(net, class_output, always=False)
    has_activations = given is not None and not isinstance(given, Path)
    names = models.chosen_layers(net, layers) or searches.spread_layers(net, config, has_activations)
    for name in names:
        inversion.check(net, name, config)
    known = searches.read_photographs(photographs, net)
    hits = None
    if atlas is not None:
        from backlight.cli.likeness import NaturalHits, middle

        units = [middle(net, name, channel) for name in names for channel in maps or ()]
        hits = NaturalHits.read(atlas, net, units)
    search = searches.Searches(net, goal, given, config, known)
    tasks = [
        searches.SearchTask(name, own)
        for name in names
        for own in (maps if goal == "maximise" and maps else [None])
    ]
    results: list[Inversion] = []
    try:
        with progress_bars(resumes=False) as report:
            stopped = search.run(tasks, report, results, save)
    finally:  # an error or Ctrl-C in a later layer loses nothing of those before
        if results:
            searches.write_inversions(results, output, animation)
    if hits is not None:
        for result, unit in zip(results, units, strict=False):  # Ctrl-C may have left the last ones out
            hits.say_likeness(result, unit)
    if stopped:
        errors.print("stopped; the best so far is kept", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED)


def _check_goal(
    goal: flags.Goal,
    image: Path | None,
    maps: tuple[int, ...] | None,
    centre: int | None,
    photographs: str | None,
) -> None:
    """Refuse flags that do not go together, before any work is done."""
    if (image is None) != (goal == "maximise"):
        raise BadInputError("give an IMAGE to invert or to caricature, and none with --goal maximise")
    if goal == "maximise" and (maps is None or centre is not None):
        raise BadInputError(
            "with --goal maximise, --channels names the feature maps, and --centre has no meaning"
        )
    if photographs is not None and goal != "invert":
        raise BadInputError("--photographs normalise the error of an inversion; other goals have none")


def _check_animation(path: Path | None) -> None:
    if path is None:
        return
    from backlight.inversion.pictures import ANIMATED

    if path.suffix.lower() not in ANIMATED:
        raise BadInputError(f"an animation is written as .webp or .gif, got {str(path)!r}")
    check_place(path, "animation")
