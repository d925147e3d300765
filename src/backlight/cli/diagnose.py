"""`backlight diagnose`: what is wrong with a network, how sure that is, and what to try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say
from backlight.cli.writing import check_plot, write_result
from backlight.errors import BadInputError
from backlight.text import counted

if TYPE_CHECKING:
    from torch import nn

    from backlight.network import Network
    from backlight.studies.diagnosis import Diagnosis, DiagnosisConfig
    from backlight.studies.diagnosis.bounds import Bound
    from backlight.studies.diagnosis.remedies import Trial

_MOST_LAYERS = 6


def diagnose(
    subject: Annotated[
        str, typer.Argument(metavar="MODEL", help=f"The model: {flags.MODEL_FORMS}. Or an atlas, alone.")
    ],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder, a list file, tar shards, a saved dataset: images of the kind that the model is for.",
        ),
    ] = None,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Also write the report as JSON, for a build server.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            help="Exit with 1 if more than a share of the feature maps has a finding: 'dead>0.2'. May be repeated.",
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="BOXES.json",
            help="Boxes of objects, as for `correspond`: receptive fields are compared with their size.",
        ),
    ] = None,
    tries: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Also try what can be put right without training, and measure what it gains and costs.",
        ),
    ] = False,
    changed: Annotated[
        Path | None,
        typer.Option(
            "--changed",
            metavar="DIR",
            help="With --try: also save the weights of each changed network in this folder.",
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option("--layers", help="Layers, separated by commas; defaults to the rectified feature maps."),
    ] = "default",
    n_images: Annotated[int, typer.Option("--images", help="Look at a random sample of N images.")] = 1000,
    seed: flags.RandomSeed = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Find out what is wrong with a network, and what to try.

    Dead and duplicate feature maps, aliasing, padding, and more.
    """
    check_plot(output, save)
    from backlight.storage import check_place, replacing
    from backlight.studies.diagnosis import DiagnosisConfig
    from backlight.studies.diagnosis.bounds import Bound

    if as_json is not None:
        check_place(as_json, "report")
    bounds = [Bound.parse(text) for text in fail_on or []]
    if tries and images is None:
        raise BadInputError("--try changes a model, which an atlas has not; give MODEL IMAGES")
    if boxes is not None and images is None:
        raise BadInputError("--boxes are those of images; give MODEL IMAGES")
    if changed is not None and not tries:
        raise BadInputError("--changed is where --try saves the networks that it changes; add --try")
    config = DiagnosisConfig(n_images=n_images, seed=seed)
    trial = None
    if images is None:
        result = _of_atlas(subject, layers, config)
        _print_report(result)
    else:
        from backlight.cli.models import Overrides, chosen_layers, load_both
        from backlight.studies.diagnosis import run

        model, net = load_both(subject, weights, device, Overrides(size, resize, mean, std, value_range))
        objects = None if boxes is None else _objects(boxes, net)
        with progress_bars(resumes=False) as progress:
            result = run(net, images, chosen_layers(net, layers), config, objects=objects, progress=progress)
        _print_report(result)
        if tries:
            from backlight.studies.diagnosis.remedies import try_found

            with progress_bars(resumes=False) as progress:
                trial, models = try_found(result, model, net, images, n_images, progress=progress)
            _print_trial(trial)
            if changed is not None:
                _save_changed(models, changed)
    write_result(result, output, save)
    if as_json is not None:
        with replacing(as_json) as (fresh,):
            report = result.report() | ({} if trial is None else {"tried": trial.summary()})
            fresh.write_text(json.dumps(report, indent=1, allow_nan=False), "utf-8")
        say("{}", as_json)
    _check(bounds, result)


def _objects(path: Path, net: Network) -> list[tuple[float, float]]:
    """Return heights and widths of the objects that are marked in images, as the network sees them."""
    from backlight.images import decode
    from backlight.studies.correspondence.parts import checked_box, read_parts

    assert net.preprocessing is not None  # the command line gives every network one
    found: list[tuple[float, float]] = []
    for own in read_parts(path):
        picture = decode(own.image, net.preprocessing.channels)
        size = picture.height, picture.width
        for part, box in own.boxes.items():
            seen = checked_box(net.preprocessing, size, (own.name, part), box)
            found.append((float(seen.height), float(seen.width)))
    if not found:
        raise BadInputError(f"{str(path)!r} marks no object in any image")
    return found


def _print_trial(trial: Trial | None) -> None:
    """Print what each remedy changed, with its interval, and what it costs."""
    if trial is None:
        say("Nothing that was found can be put right without training.")
        return
    what = (
        "their labels"
        if trial.has_labels
        else "the answers of the network as it is (they have no fitting labels)"
    )
    say("[bold]Tried[/] on {}, compared with {}:", counted(len(trial.before), "image"), what)
    for line in trial.lines():
        say("  {}", line)


def _save_changed(models: dict[str, nn.Module], folder: Path) -> None:
    """Save the weights of changed networks; `remedies.load_changed` loads them into a model of the user's class."""
    import torch

    from backlight.storage import make_folder, replacing
    from backlight.studies.diagnosis.remedies.trying import names_of_files

    make_folder(folder)
    for name, file in names_of_files(models).items():
        with replacing(folder / file) as (fresh,):
            torch.save(models[name].state_dict(), fresh)
        say("{}", folder / file)


def _of_atlas(path: str, layers: str, config: DiagnosisConfig) -> Diagnosis:
    """Return what an atlas tells of the network that it was built with."""
    from backlight.atlas import open_atlas
    from backlight.cli.parsing import parse_layers
    from backlight.studies.diagnosis.from_atlas import run_on_atlas

    if not path.endswith(".atlas"):
        raise BadInputError(
            f"a diagnosis takes a model and images, or an atlas (.atlas); got {path!r} alone: give MODEL IMAGES"
        )
    return run_on_atlas(open_atlas(Path(path)), None if layers == "default" else parse_layers(layers), config)


def _print_report(result: Diagnosis) -> None:
    from backlight.studies.diagnosis import KINDS

    say(
        "Looked for {} in {} over {}: [bold]{}[/] (p values corrected for each kind, Benjamini & Hochberg)",
        counted(result.n_looked_for, "thing"),
        counted(len(result.layers), "layer"),
        counted(result.n_images, "image"),
        f"{len(result.findings)} found",
    )
    if result.findings:
        console.print(_table(result))
        for kind in dict.fromkeys(own.kind for own in result.findings):
            say("[bold]{}[/]: try {}", KINDS[kind].title, KINDS[kind].to_try)
    _print_lacking(result)


def _table(result: Diagnosis) -> Table:
    """Return the table of findings: a row for each kind and layer, the most serious first."""
    from backlight.studies.diagnosis import KINDS

    table = new_table("findings, the most serious first")
    table.add_column("finding", style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("maps", justify="right")
    table.add_column("of", justify="right", style="dim")
    table.add_column("p", justify="right")
    table.add_column("the clearest of them")
    n_maps = {(own.kind, own.layer): own for own in result.looked_for}
    for kind, layer in dict.fromkeys((own.kind, own.layer) for own in result.findings):
        mine = result.of(kind, layer)
        looked = n_maps[kind, layer]
        clearest = min(mine, key=lambda own: (own.p_corrected or 0, -abs(own.value - own.limit)))
        p = "–" if clearest.p_corrected is None else _p_in_words(clearest.p_corrected)
        map_name = f"map {clearest.channels[0]}: " if len(clearest.channels) == 1 else ""
        table.add_row(
            KINDS[kind].title,
            layer,
            "all" if looked.n_found == looked.n_maps else str(looked.n_found),
            str(looked.n_maps),
            p,
            f"{map_name}{clearest.says}",
        )
    return table


def _p_in_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _print_lacking(result: Diagnosis) -> None:
    """Say what could not be looked for: each reason once, with its layers."""
    from backlight.studies.diagnosis import KINDS

    if result.lacking:
        say("[bold]could not be looked for[/]")
    for kind, layers, reason in result.reasons():
        more = f" and {len(layers) - _MOST_LAYERS} more" if len(layers) > _MOST_LAYERS else ""
        where = f" in {', '.join(layers[:_MOST_LAYERS])}{more}" if layers else ""
        say("  {}{}: {}", KINDS[kind].title, where, reason)


def _check(bounds: list[Bound], result: Diagnosis) -> None:
    """Exit with 1, saying which bound was broken, if one was."""
    broken = [text for text in (own.broken_by(result) for own in bounds) if text is not None]
    for text in broken:
        say("[bold red]failed:[/] {}", text)
    if broken:
        raise typer.Exit(1)
