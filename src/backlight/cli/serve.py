"""`backlight serve`: the site of an atlas in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import has_browser, say


def serve(
    atlas: flags.AtlasArgument,
    port: Annotated[
        int | None, typer.Option("--port", help="Defaults to the first free one from 8123 on.")
    ] = None,
    beside: flags.Beside = None,
    opens: flags.Opens = True,
) -> None:
    """Show an atlas in the browser: every layer, feature map and image has a page."""
    from backlight.atlas import open_atlas
    from backlight.web import serve as run

    def ready(address: str) -> None:
        say("{} (Ctrl-C stops)", address)
        if opens and has_browser():
            import webbrowser

            webbrowser.open(address)

    run(open_atlas(atlas), port, beside=None if beside is None else open_atlas(beside), ready=ready)
