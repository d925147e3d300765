"""`backlight extend`: more feature maps, layers, rule sets or parts for a finished atlas."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import console, progress_bars, say
from backlight.cli.parsing import parse_layers, parse_maps
from backlight.cli.writing import changed_at
from backlight.errors import BadInputError


def extend(
    atlas: flags.AtlasArgument,
    model: flags.OwnModel = None,
    images: flags.OwnImages = None,
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps",
            help="Feature maps per layer that the atlas shall show: a random sample of N, of which those of `build` "
            "are a part; a list such as 3,17,40 or 0-31, which is added; or all.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="The layers that get them, separated by commas, new ones too; defaults to those of the atlas.",
        ),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(
            "--rules",
            help=f"Project the hits of all maps by these rules too, beside the atlas's own: {flags.RULES_HELP}",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed for the sample of feature maps, as for `build`.")
    ] = 0,
    bands: Annotated[
        bool, typer.Option("--bands", help="Add an example of each bin of every map's histogram.")
    ] = False,
    wholes: Annotated[
        bool,
        typer.Option(
            "--wholes", help="Add the images of hits, whole, and where in them the hits' maps are active."
        ),
    ] = False,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
) -> None:
    """Add feature maps, layers or rule sets to a finished atlas.

    Nothing that it holds is computed again, and more feature maps need no new scan. An interrupted extension resumes
    when you rerun the command, and until it is done the atlas stays as it was.
    """
    if not (maps or layers or rules or bands or wholes):
        raise BadInputError(
            "say what to add: --maps 32, --layers NAME --maps 16, --rules guided, --bands or --wholes"
        )
    wanted = 0 if maps is None else parse_maps(maps)
    named = None if layers is None else parse_layers(layers)
    from backlight.atlas import execute, growth, open_atlas, plan_extension
    from backlight.cli.build import print_summary
    from backlight.cli.models import load_network_of
    from backlight.operators.ruleset import parse_rules

    other_rules = None if rules is None else parse_rules(rules)
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "extend")
    if layers == "all":
        named = [layer.name for layer in net.default_layers]
    plan = plan_extension(net, source, atlas, named, maps=wanted, seed=seed, bands=bands, wholes=wholes)
    found = growth(plan, atlas, other_rules)
    if found is not None:
        console.print(str(found))
    opened.close()
    before = changed_at(atlas)
    with progress_bars() as progress:
        result = execute(plan, atlas, rules=other_rules, progress=progress)
    if changed_at(atlas) == before:
        say("{} has all of that already", atlas)
        return
    print_summary(result)
