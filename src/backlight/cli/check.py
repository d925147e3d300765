"""`backlight check`: is everything in an atlas as it was written?"""

from __future__ import annotations

import typer

from backlight.cli import flags
from backlight.cli.output import console, progress_bars, say
from backlight.text import counted

_SHOWN = 10
_THINGS = ("layer", "image", "filter", "feature map", "hit", "tile", "whole picture", "activation map")
_OF_ONE = {
    **{f"{thing}s": thing for thing in _THINGS},
    "examples of bands": "example of a band",
    "tiles of examples": "tile of an example",
    "pictures left out": "picture left out",
    "studies": "study",
    "layers with evidence": "layer with evidence",
    "feature maps with uncertain hits": "feature map with uncertain hits",
}


def check(atlas: flags.AtlasArgument) -> None:
    """Compare all of an atlas with its checksums.

    Exits with 1 if anything is damaged.
    """
    from backlight.atlas import verify

    with progress_bars(resumes=False) as progress:
        found = verify(atlas, progress)
    for what, count in found.counts.items():
        console.print(f"{count:>9,} {_OF_ONE.get(what, what) if count == 1 else what}")
    if found.unfinished:
        say(
            "{:>9,} hits are not projected yet; rerun the original `backlight build` to resume",
            found.unfinished,
        )
    if not found.has_checksums and found.counts:
        say(
            "This atlas was written by an older Backlight and has no checksums: a changed number or picture "
            "cannot be found"
        )
    if found.is_sound:
        say("{}: nothing is damaged", atlas)
        return
    more = f", the first {_SHOWN}" if len(found.damaged) > _SHOWN else ""
    say("[bold red]{}: damaged in {}[/]{}:", atlas, counted(len(found.damaged), "place"), more)
    for finding in found.damaged[:_SHOWN]:
        say("  {}", finding)
    say("restore a copy of the file, or rebuild the atlas under another name")
    raise typer.Exit(1)
