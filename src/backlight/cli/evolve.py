"""`backlight evolve`: feature maps followed through the checkpoints of a training."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from backlight.cli import flags
from backlight.cli.output import console, new_table, print_skipped, progress_bars, say
from backlight.cli.parsing import parse_layers, parse_sample
from backlight.cli.writing import check_plot, write_result
from backlight.errors import BadInputError
from backlight.storage import check_place
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.studies.evolution import EvolutionResult

_SUFFIX, _SHOWN = ".npz", 10
_MEASURES = ("projections", "filters")
SETTLED = 0.1  # a test holds it equal to the studies' own


def evolve(
    model: flags.ModelArgument,
    images: flags.ImagesArgument,
    checkpoints: Annotated[
        list[str],
        typer.Option(
            "--checkpoints",
            help="The checkpoints, in any form that --weights takes: a pattern in quotes, such as 'runs/*.pt'; may be "
            "given several times.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, or to resume; figures are written beside it: run.png and run-curves.png "
            "for run.npz.",
        ),
    ],
    layers: Annotated[
        str, typer.Option("--layers", help="Layer names, separated by commas, or all: every default layer.")
    ] = "all",
    maps: flags.SampledMaps = "8",
    rules: flags.Rules = "deconvnet",
    seed: Annotated[int, typer.Option("--seed", help="Random seed for the sample of feature maps.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images read together.")] = 32,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Follow feature maps through a training, by its checkpoints.

    What changes, and when does it settle? One checkpoint is in memory at a time; one that cannot be used is left out.
    An interrupted command resumes when you rerun it, and new checkpoints are added to a finished file.
    """
    if output.suffix != _SUFFIX:
        raise BadInputError(f"an evolution is written as {_SUFFIX}, got {str(output)!r}")
    check_place(output, "evolution")
    grid, curves = (output.with_name(f"{output.stem}{end}") for end in (".png", "-curves.png"))
    for figure in (grid, curves):
        check_plot(figure, None)
    from backlight.cli.models import Overrides, load_checkpoint, preprocessing_of
    from backlight.operators.ruleset import parse_rules
    from backlight.studies.evolution import EvolutionConfig, find_checkpoints, run

    config = EvolutionConfig(parse_sample(maps), seed, parse_rules(rules), batch_size)
    files = list(dict.fromkeys(file for pattern in checkpoints for file in find_checkpoints(pattern)))
    preprocessing = preprocessing_of(model, Overrides(size, resize, mean, std, value_range))
    with progress_bars() as progress:
        result = run(
            lambda file: load_checkpoint(model, str(file), device),
            files,
            images,
            parse_layers(layers),
            config,
            path=output,
            preprocessing=preprocessing,
            progress=progress,
        )
    _print_summary(result, output)
    write_result(result, grid, None)
    if len(result.steps) > 1:
        write_result(result, curves, None, lambda: result.plot("curves"))


def _print_summary(result: EvolutionResult, output: Path) -> None:
    what = counted(len(result.steps), "step"), counted(result.n_images, "image")
    say("{}: {} over {}, {} to {}", output, *what, result.steps[0], result.steps[-1])
    if len(result.steps) > 1:
        console.print(_table(result))
        console.print()
        say(
            "Settled: {:.0%} of the layer's change, or less, comes after this step. Last change, of the last step: of "
            "projections 1 - correlation, of filters relative to their length, of images the share of maps with "
            "another strongest one.",
            SETTLED,
        )
    print_skipped(result.skipped_images)
    if result.skipped:
        say("[yellow]{} could not be used[/]:", counted(len(result.skipped), "checkpoint"))
        for own in result.skipped[:_SHOWN]:
            say("  {}: {}", own.step, own.reason)
        if len(result.skipped) > _SHOWN:
            say("  … and {} more; `open_evolution(...).skipped` lists all", len(result.skipped) - _SHOWN)


def _table(result: EvolutionResult) -> Table:
    table = new_table("at which step half of a layer's change is done, and when it is settled")
    table.add_column("layer", no_wrap=True, style="bold")
    for measure in _MEASURES:
        table.add_column(Text(f"{measure}:\nhalf"), justify="right")
        table.add_column(Text("\nsettled"), justify="right")
        table.add_column(Text("last\nchange"), justify="right", style="dim")
    table.add_column(Text("images:\nlast"), justify="right", style="dim")
    for layer in result.layers:
        changes, cells = result.changes(layer.name), []
        for measure in _MEASURES:
            at = [result.settled(layer.name, measure, share) or "–" for share in (0.5, SETTLED)]
            cells += [*at, _number(getattr(changes, measure)[-1])]
        table.add_row(layer.name, *cells, f"{changes.images[-1]:.0%}")
    return table


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3f}"
