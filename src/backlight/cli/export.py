"""`backlight export`: the site of an atlas as plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import progress_bars, say
from backlight.cli.sites import opened_diagnosis, opened_evolution


def export(
    atlas: flags.AtlasArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write into.")],
    beside: flags.Beside = None,
    evolution: flags.Evolution = None,
    diagnosis: flags.Diagnosis = None,
) -> None:
    """Write an atlas as a web site of plain files.

    The site opens by double click.
    """
    from backlight.atlas import open_atlas
    from backlight.web import export as write

    opened, other = open_atlas(atlas), None if beside is None else open_atlas(beside)
    steps, found_wrong = opened_evolution(evolution), opened_diagnosis(diagnosis)
    with progress_bars(resumes=False) as progress:
        found = write(opened, folder, beside=other, evolution=steps, diagnosis=found_wrong, progress=progress)
    say("{} ({} files, {:.1f} MB)", found.index, found.n_files, found.n_bytes / 1e6)
