"""`backlight build`: the main job, from a model and a set of images to an atlas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backlight.cli import flags
from backlight.cli.amounts import range_in_words, size_in_words
from backlight.cli.completing import complete_rules
from backlight.cli.engines import EngineOptions
from backlight.cli.output import (
    console,
    doing,
    print_command,
    progress_bars,
    say,
)
from backlight.cli.planning import BuildOptions, Planned, make_plan, origin_of, write_plan
from backlight.cli.writing import changed_at
from backlight.errors import BadInputError
from backlight.storage import check_place
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.atlas import Atlas, Estimate, Plan
    from backlight.operators.ruleset import RuleSet

# Tests hold these equal to `backlight.scan.Compile` and `backlight.scan.compiling.MIN_IMAGES`.
Compile = Literal["auto", "on", "off"]
COMPILED_FROM = 10_000
_SHOWN = 10


def build(
    model: flags.ModelArgument,
    images: flags.ImagesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The atlas to write, or to resume.")],
    weights: flags.Weights = None,
    layers: Annotated[
        str, typer.Option("--layers", help="Layer names, separated by commas, or all: every default layer.")
    ] = "all",
    maps: flags.AllMaps = "16",
    top: flags.Top = 9,
    rules: Annotated[
        str,
        typer.Option(
            "--rules",
            help=f"{flags.RULES_HELP} best: for each layer the rules with the strongest evidence.",
            autocompletion=complete_rules,
        ),
    ] = "deconvnet",
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence", help="For --rules best: an atlas of the model that `faithfulness` has studied."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed for the sample of feature maps.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images read and projected together.")] = 32,
    compile: Annotated[
        Compile,
        typer.Option(
            "--compile",
            help=f"Compile the network for the scan; auto compiles for {COMPILED_FROM} images or more.",
        ),
    ] = "auto",
    bands: Annotated[
        bool,
        typer.Option(
            "--bands",
            help="Also project an example of each bin of every map's histogram; adds them to a finished atlas.",
        ),
    ] = False,
    wholes: Annotated[
        bool,
        typer.Option(
            "--wholes/--no-wholes",
            help="Keep the images of hits whole, and where in them the hits' maps are active.",
        ),
    ] = True,
    device: flags.Device = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done and how long it would take.")
    ] = False,
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Write the plan to a file and stop; any number of `scan-shard`, and then `merge`, carry it out.",
            rich_help_panel=flags.ENGINES,
        ),
    ] = None,
    engine: flags.EngineName = "local",
    address: flags.ClusterAddress = None,
    stations: flags.Stations = None,
    cpus: flags.StationCpus = 1,
    gpus: flags.StationGpus = 0.0,
    ledger: flags.LedgerAddress = None,
    keep_ledger: flags.KeepLedger = False,
    shard_images: Annotated[
        int | None,
        typer.Option(
            "--shard-images",
            help="Images that are scanned and kept at a time; a sixteenth of all, at most 256, unless given.",
            rich_help_panel=flags.ENGINES,
        ),
    ] = None,
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
    labels: flags.Labels = None,
) -> None:
    """Build an atlas: find and project every map's strongest hits.

    For every feature map, the strongest activations over all images are projected back to pixels. An interrupted build
    resumes when you rerun the command.
    """
    check_place(output, "atlas")
    if (rules == "best") != (evidence is not None):
        raise BadInputError(
            "--rules best and --evidence ATLAS go together: an atlas that `faithfulness` studied"
        )
    chosen = EngineOptions(engine, address, stations, cpus, gpus, ledger, keep_ledger)
    chosen.check()
    if engine == "ray" and device != "cpu":
        raise BadInputError(f"with --engine ray, --gpus 1 puts networks on GPUs; leave out --device {device}")
    options = BuildOptions(
        model,
        images,
        str(output),
        weights,
        layers,
        maps,
        top,
        rules,
        None if evidence is None else str(evidence),
        seed,
        batch_size,
        compile,
        bands,
        wholes,
        device,
        shard_images,
        size,
        resize,
        mean,
        std,
        value_range,
        None if labels is None else str(labels),
    )
    made = make_plan(options)
    if dry_run:
        from backlight import atlas

        _print_plan(made)
        with doing("timing a few passes"):
            found = atlas.estimate(made.plan)
        _print_estimate(found)
    elif plan_file is not None:
        write_plan(check_place(plan_file, "plan"), made)
        _print_plan(made)
        n_shards = len(made.plan.shards())
        say("{}: {}, for as many processes as you like; then:", plan_file, counted(n_shards, "shard"))
        print_command("backlight", "scan-shard", plan_file, "1/1")
        print_command("backlight", "merge", plan_file)
    else:
        carry_out(made, chosen)


def carry_out(made: Planned, chosen: EngineOptions) -> None:
    """Build the atlas of a plan, and say what it holds."""
    from backlight import atlas

    _print_plan(made)
    options, output = made.options, Path(made.options.output)
    before = changed_at(output)
    found = atlas.growth(made.plan, output)
    if found is not None:
        say("{} goes on from what it is: {}", output, found)
    origin, begun = origin_of(options), set[str]()
    with progress_bars() as progress, chosen.started(options.default_ledger, progress) as engine:

        def report(phase: str, done: int, total: int) -> None:
            begun.add(phase)
            progress(phase, done, total)

        try:
            result = atlas.execute(made.plan, output, engine, progress=report)
        except KeyboardInterrupt:
            if begun:  # so the atlas is of this plan
                atlas.keep_origin(output, origin)
            raise
    if changed_at(output) == before and result.origin:
        say("{} has all of that already", output)
        return
    atlas.keep_origin(output, origin)
    print_summary(result)


def _print_plan(made: Planned) -> None:
    from backlight.cli.models import print_left_out

    console.print(str(made.plan))
    if made.options.layers == "all":
        print_left_out(made.net)
    if made.by_evidence is not None:
        _print_rules(made.plan, made.by_evidence)


def _print_rules(plan: Plan, known: Mapping[str, RuleSet]) -> None:
    """Say which layers get which rules, and which have no evidence."""
    for rules in dict.fromkeys(plan.rules):
        names = [
            y.name for y, own in zip(plan.layers, plan.rules, strict=True) if own == rules and y.name in known
        ]
        if names:
            say("  {}, by evidence: {}", rules.name, ", ".join(names))
    without = [layer.name for layer in plan.layers if layer.name not in known]
    if without:
        say("  [yellow]no evidence, so deconvnet:[/] {}", ", ".join(without))


def _print_estimate(found: Estimate) -> None:
    phases = (
        (found.scan, "to scan"),
        (found.certify, "to certify"),
        (found.project, "to project"),
        (found.band, "for examples of bands"),
        (found.light, "to keep images whole"),
    )
    parts = [f"{range_in_words(own.low, own.high)} {what}" for own, what in phases if own.high]
    say("{} on this machine, as busy as it is now:", range_in_words(found.total.low, found.total.high))
    for part in parts:
        say("  {}", part)
    size = size_in_words(found.file_bytes)
    say("and a file of {}; nothing was written", size if size.startswith("less") else f"about {size}")


def print_summary(result: Atlas) -> None:
    """Say what an atlas holds, and what is not as one would expect."""
    dead = sum(result[name][c].dead for name in result for c in result[name].channels)
    size = size_in_words(result.path.stat().st_size)
    say("{} ({}): {}", result.path, size, counted(result.n_scanned, "image"))
    if dead:
        verb = "is" if dead == 1 else "are"
        console.print(f"{counted(dead, 'feature map')} {verb} dead: never active in any image")
    doubtful = sum(not result[name][c].is_certain for name in result for c in result[name].channels)
    if doubtful:
        verb = "has" if doubtful == 1 else "have"
        what = counted(doubtful, "feature map")
        console.print(f"{what} {verb} nearly equal hits: another machine may show others")
    if result.skipped:
        what = counted(len(result.skipped), "picture")
        say("[yellow]{} could not be read[/] (left out of the atlas):", what)
        for picture in result.skipped[:_SHOWN]:
            say("  {}: {}", picture.path, picture.reason)
        if len(result.skipped) > _SHOWN:
            n_more = len(result.skipped) - _SHOWN
            console.print(f"  … and {n_more} more; `open_atlas(...).skipped` lists all")
    console.print()
    print_command("backlight", "figure", result.path, result.layers[-1].name)
