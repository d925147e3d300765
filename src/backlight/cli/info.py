"""`backlight info`: what an atlas is, what it holds, and whether it is finished."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backlight.cli import flags
from backlight.cli.amounts import size_in_words
from backlight.cli.output import console, say
from backlight.cli.rebuilding import build_command
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.atlas import Atlas, AtlasSummary


def info(
    atlas: flags.AtlasArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all layers.")] = False,
) -> None:
    """Say what an atlas holds, and whether it is finished.

    Its pictures are not read; `backlight check` reads all of it, `backlight layers` lists its layers.
    """
    from backlight.atlas import open_atlas, summarise

    opened = open_atlas(atlas)
    found = summarise(opened)
    if as_json:
        console.print_json(json.dumps(_as_dict(opened, found)))
        return
    state = "finished" if found.is_done else "unfinished"
    say("[bold]{}[/]: an atlas of {}, {}", atlas, found.network, state)
    for what, text in _facts(opened, found).items():
        if text:
            say("  [dim]{:<11}[/]{}", what, text)


def _facts(atlas: Atlas, found: AtlasSummary) -> dict[str, str]:
    """Return what is said of an atlas by what it is about; empty where there is nothing to say."""
    n_shown = f"{found.n_shown:,} of {counted(found.n_maps, 'feature map')} shown"
    ends = atlas.layers[0].name, atlas.layers[-1].name
    kept = ["whole images"] * found.wholes + ["examples of bands"] * found.bands
    return {
        "missing": found.missing or "",
        "": _how_to_finish(atlas, found),
        "input": "x".join(map(str, found.input_shape)),
        "images": f"{counted(found.n_read, 'image')} of {found.images}{_left_out(found)}",
        "layers": f"{counted(found.n_layers, 'layer')}, {' to '.join(dict.fromkeys(ends))}",
        "maps": f"{n_shown}, up to {counted(found.top, 'hit')} each",
        "rules": ", ".join((found.rules, *found.other_rules)),
        "studies": ", ".join(f"{name} ({counted(n, 'layer')})" for name, n in found.studies.items()),
        "keeps": " and ".join(kept),
        "built by": _command(atlas.path, found),
        "file": f"{size_in_words(found.n_bytes)}, format {found.format_version}"
        + ("" if found.has_checksums else ", without checksums"),
    }


def _how_to_finish(atlas: Atlas, found: AtlasSummary) -> str:
    if found.is_done:
        return ""
    if found.holder:
        return f"a build of it is running ({found.holder})"
    original = (
        "the command below"
        if build_command(found.built_from, atlas.path)[1]
        else "the original `backlight build`"
    )
    return f"rerun {original} to resume it"


def _left_out(found: AtlasSummary) -> str:
    return f" ({counted(found.n_skipped, 'picture')} could not be read)" if found.n_skipped else ""


def _command(path: Path, found: AtlasSummary) -> str:
    """Return the command that it was built by; nothing for a build from Python."""
    command, is_whole = build_command(found.built_from, path)
    return (
        command if is_whole or not command else f"{command}  (options may be missing: it does not keep them)"
    )


def _as_dict(atlas: Atlas, found: AtlasSummary) -> dict[str, object]:
    from backlight.atlas import layer_summary

    return {
        "path": str(atlas.path),
        "done": found.is_done,
        **asdict(found),
        "layers": [layer_summary(layer, atlas.other_rules) for layer in atlas.layers],
    }
