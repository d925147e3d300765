"""`backlight export`: the site of an atlas as plain files, or its hits as a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import typer

from backlight.cli import flags
from backlight.cli.output import progress_bars, say
from backlight.cli.sites import opened_diagnosis, opened_evolution
from backlight.cli.tables import SUFFIXES, check_table, write_table
from backlight.errors import BadInputError
from backlight.text import counted

_OTHER_TABLES = (".tsv", ".xls", ".xlsx", ".jsonl", ".ndjson", ".feather", ".arrow")


def export(
    atlas: flags.AtlasArgument,
    target: Annotated[
        Path,
        typer.Argument(metavar="DIR|TABLE", help="A folder for the site, or a .csv, .json or .parquet file."),
    ],
    rules: flags.ShownRules = None,
    beside: flags.Beside = None,
    evolution: flags.Evolution = None,
    diagnosis: flags.Diagnosis = None,
) -> None:
    """Write an atlas as a web site, or its hits as a table.

    The site is plain files and opens by double click. The table has a row for each hit: its layer, channel, rank and
    value, its image and label, its unit and the box that the unit sees.
    """
    if target.suffix.lower() in (*SUFFIXES, *_OTHER_TABLES) and not target.is_dir():
        given = {"--rules": rules, "--beside": beside, "--evolution": evolution, "--diagnosis": diagnosis}
        named = [flag for flag, own in given.items() if own is not None]
        if named:
            raise BadInputError(
                f"a table has no pictures, so {' and '.join(named)} would change nothing in it; leave it out, or name "
                "a folder, for a site"
            )
        _write_hits(atlas, check_table(target))
        return
    from backlight.atlas import open_atlas
    from backlight.web import export as write

    opened, other = open_atlas(atlas, rules), None if beside is None else open_atlas(beside)
    steps, found_wrong = opened_evolution(evolution), opened_diagnosis(diagnosis)
    with progress_bars(resumes=False) as progress:
        found = write(opened, target, beside=other, evolution=steps, diagnosis=found_wrong, progress=progress)
    say("{} ({}, {:.1f} MB)", found.index, counted(found.n_files, "file"), found.n_bytes / 1e6)


def _write_hits(atlas: Path, table: Path) -> None:
    from backlight.atlas import HitRow, hit_table, open_atlas

    opened = open_atlas(atlas)
    columns = {name: (get_args(kind) or (kind,))[0] for name, kind in get_type_hints(HitRow).items()}
    n = write_table(map(asdict, hit_table(opened)), columns, table)
    say("{} ({}, {})", table, counted(n, "hit"), counted(len(columns), "column"))
