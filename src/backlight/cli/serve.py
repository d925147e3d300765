"""`backlight serve`: the site of an atlas in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import has_browser, say
from backlight.cli.sites import opened_diagnosis, opened_evolution
from backlight.errors import BadInputError


def serve(
    atlas: flags.AtlasArgument,
    port: Annotated[
        int | None, typer.Option("--port", help="Defaults to the first free one from 8123 on.")
    ] = None,
    rules: flags.ShownRules = None,
    beside: flags.Beside = None,
    evolution: flags.Evolution = None,
    diagnosis: flags.Diagnosis = None,
    opens: flags.Opens = True,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The model of the atlas, as for `build`: adds a page that probes images of your own with it.",
        ),
    ] = None,
    weights: flags.Weights = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="With --model: the images of the atlas, to probe the originals in place of those that it keeps.",
        ),
    ] = None,
    device: flags.Device = "cpu",
) -> None:
    """Show an atlas in the browser.

    Every layer, feature map and image has a page.
    """
    if model is None and (weights is not None or images is not None):
        raise BadInputError(
            "--weights and --images are for the page that probes; name the model with --model"
        )
    from backlight.atlas import open_atlas
    from backlight.web import serve as run

    def ready(address: str) -> None:
        say("{} (Ctrl-C stops)", address)
        if opens and has_browser():
            import webbrowser

            webbrowser.open(address)

    opened, net = open_atlas(atlas, rules), None
    if model is not None:
        from backlight.cli.models import load_network_for

        net = load_network_for(opened, model, weights, device)
    other = None if beside is None else open_atlas(beside)
    steps, found_wrong = opened_evolution(evolution), opened_diagnosis(diagnosis)
    run(
        opened,
        port,
        beside=other,
        evolution=steps,
        diagnosis=found_wrong,
        net=net,
        images=images,
        ready=ready,
    )
