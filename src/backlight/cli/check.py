"""`backlight check`: is everything in an atlas as it was written?"""

from __future__ import annotations

import typer

from backlight.atlas import verify
from backlight.cli.figure import AtlasArgument
from backlight.cli.output import console, counted, progress_bars, styled

_SHOWN = 10
_OF_ONE = {
    **{f"{thing}s": thing for thing in ("layer", "image", "filter", "feature map", "hit", "tile")},
    "pictures left out": "picture left out",
    "studies": "study",
    "layers with evidence": "layer with evidence",
}


def check(atlas: AtlasArgument) -> None:
    """Read all of an atlas and compare it with its checksums; exits with 1 if anything is damaged."""
    with progress_bars(resumes=False) as progress:
        found = verify(atlas, progress)
    for what, count in found.counts.items():
        console.print(f"{count:>9,} {_OF_ONE.get(what, what) if count == 1 else what}")
    if found.unfinished:
        console.print(
            f"{found.unfinished:>9,} hits are not projected yet; rerun the original `backlight build` to resume",
            soft_wrap=True,
        )
    if not found.has_checksums and found.counts:
        console.print(
            "This atlas was written by an older Backlight and has no checksums: a changed number or picture cannot "
            "be found",
            soft_wrap=True,
        )
    if found.is_sound:
        console.print(f"{atlas}: nothing is damaged", soft_wrap=True)
        return
    more = f", the first {_SHOWN}" if len(found.damaged) > _SHOWN else ""
    places = counted(len(found.damaged), "place")
    console.print(styled("[bold red]{}: damaged in {}[/]{}:", atlas, places, more), soft_wrap=True)
    for finding in found.damaged[:_SHOWN]:
        console.print(f"  {finding}", soft_wrap=True)
    console.print("restore a copy of the file, or build the atlas anew under another name", soft_wrap=True)
    raise typer.Exit(1)
