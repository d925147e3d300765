"""`backlight build`: the main job, from a model and a set of images to an atlas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from backlight import atlas
from backlight.atlas import best_rules, open_atlas
from backlight.atlas.estimate import Estimate, estimate
from backlight.cli.layers import print_left_out
from backlight.cli.options import (
    RULES_HELP,
    Device,
    Mean,
    ModelArgument,
    Resize,
    Size,
    Std,
    ValueRange,
    Weights,
    load_network,
    parse_layers,
    parse_maps,
)
from backlight.cli.output import (
    console,
    counted,
    in_words,
    print_command,
    progress_bars,
    size_in_words,
    styled,
)
from backlight.errors import BadInputError
from backlight.images import open_images
from backlight.operators.ruleset import RuleSet, parse_rules
from backlight.scan import Compile
from backlight.scan.compiling import MIN_IMAGES
from backlight.storage import check_place


def build(
    model: ModelArgument,
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="A folder, a list file, tar shards, a saved dataset.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The atlas to write, or to go on with.")],
    weights: Weights = None,
    layers: Annotated[
        str, typer.Option("--layers", help="Layer names with commas; all: every default layer.")
    ] = "all",
    maps: Annotated[
        str, typer.Option("--maps", help="Feature maps a layer: a number, drawn at random; a list; all.")
    ] = "16",
    top: Annotated[int, typer.Option("--top", help="Strongest activations a feature map.")] = 9,
    rules: Annotated[
        str, typer.Option("--rules", help=f"{RULES_HELP} best: by layer, the one with the best evidence.")
    ] = "deconvnet",
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence", help="For --rules best: an atlas of the model that `faithfulness` has studied."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides which maps are drawn.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images read and projected together.")] = 32,
    compile: Annotated[
        Compile,
        typer.Option(
            "--compile", help=f"Compile the network for the scan; auto: from {MIN_IMAGES} images on."
        ),
    ] = "auto",
    device: Device = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and how long it takes.")
    ] = False,
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Build an atlas: the strongest activations of every feature map, each projected back to pixels.

    A build that was stopped, by whatever, goes on where it was when the same command runs again.
    """
    check_place(output, "atlas")
    if (rules == "best") != (evidence is not None):
        raise BadInputError(
            "--rules best and --evidence ATLAS go together: an atlas that `faithfulness` studied"
        )
    chosen_rules: RuleSet | dict[str, RuleSet] = parse_rules(rules) if evidence is None else {}
    chosen_maps, source = parse_maps(maps), open_images(images)
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    if evidence is not None:
        chosen_rules = best_rules(open_atlas(evidence), net.fingerprint())
    plan = atlas.make_plan(
        net, source, chosen_rules, parse_layers(layers), top, chosen_maps, seed, batch_size
    )
    console.print(
        f"{counted(plan.n_images, 'image')}, {counted(len(plan.layers), 'layer')}, "
        f"{counted(plan.n_maps, 'feature map')}, {counted(plan.n_projections, 'projection')} by {plan.rules_name}"
    )
    if layers == "all":
        print_left_out(net)
    if isinstance(chosen_rules, dict):
        _print_rules(plan, chosen_rules)
    if dry_run:
        _print_estimate(estimate(net, source, plan))
        return
    with progress_bars() as progress:
        result = atlas.build(
            net,
            source,
            output,
            plan.layers,
            top,
            chosen_rules,
            maps=chosen_maps,
            seed=seed,
            batch_size=batch_size,
            compile=compile,
            progress=progress,
        )
    atlas.keep_origin(output, {"model": model, "weights": weights, "images": images})
    _print_summary(result)


def _print_rules(plan: atlas.Plan, known: Mapping[str, RuleSet]) -> None:
    """Say which layers get which rules, and which have no evidence."""
    for rules in dict.fromkeys(plan.rules):
        names = [
            y.name for y, own in zip(plan.layers, plan.rules, strict=True) if own == rules and y.name in known
        ]
        if names:
            console.print(f"  {rules.name}, by evidence: {', '.join(names)}", soft_wrap=True)
    without = [layer.name for layer in plan.layers if layer.name not in known]
    if without:
        console.print(
            styled("  [yellow]no evidence, so deconvnet:[/] {}", ", ".join(without)), soft_wrap=True
        )


def _print_estimate(found: Estimate) -> None:
    console.print(
        f"about {in_words(found.scan_seconds)} to scan and {in_words(found.projection_seconds)} to project on this "
        f"machine, and a file of about {size_in_words(found.file_bytes)}; nothing was written"
    )


def _print_summary(result: atlas.Atlas) -> None:
    dead = sum(result[name][c].dead for name in result for c in result[name].channels)
    size = size_in_words(result.path.stat().st_size)
    console.print(f"{result.path} ({size}): {counted(result.n_scanned, 'image')}", soft_wrap=True)
    if dead:
        console.print(f"{dead} of the feature maps are dead: active in no image")
    if result.skipped:
        console.print(
            styled(
                "[yellow]{} could not be read[/] (left out of the atlas):",
                counted(len(result.skipped), "picture"),
            ),
            soft_wrap=True,
        )
        for picture in result.skipped[:10]:
            console.print(f"  {picture.path}: {picture.reason}", soft_wrap=True)
        if len(result.skipped) > 10:
            console.print(f"  … and {len(result.skipped) - 10} more; `open_atlas(...).skipped` lists all")
    console.print()
    print_command("backlight", "figure", result.path, result.layers[-1].name, "-o", "figure.png")
