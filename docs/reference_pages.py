"""The pages of the reference, written before Sphinx reads them: nothing of them is kept in the repository.

Names come from the packages' own lists, commands and options from the program, tables from the atlas's schema.
"""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from backlight import __all__ as DOORS
from backlight.atlas import checksums, schema
from backlight.cli.described import OPTIONS, Parameter
from backlight.cli.reference import global_options, reference

# The rooms that have a page, in the order of the menu; what `backlight` itself gives is on the first page only.
ROOMS = {
    "network": "Networks and layers",
    "models": "Models and weights",
    "images": "Images",
    "projection": "Units and projections",
    "operators.ruleset": "Rule sets",
    "scan": "Scans",
    "atlas": "Atlases",
    "engines.ray": "Many processes, by Ray",
    "render": "Pictures",
    "web": "The atlas in the browser",
    "inversion": "Inversion",
    "adaptive": "Adaptive networks",
    "geometry": "Boxes and fields",
    "errors": "Errors",
    "storage": "Files",
}
STUDIES = (
    "faithfulness",
    "foretelling",
    "sanity",
    "occlusion",
    "invariance",
    "correspondence",
    "homogeneity",
    "evolution",
    "diagnosis",
)


def write_all(folder: Path) -> None:
    """Write every generated page into a folder; what is unchanged keeps its time, so that Sphinx reads it no more."""
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file's name."""
    first = "The names to import from ``backlight`` itself. The other pages list what its packages give beyond them."
    found = {"backlight.rst": _page("backlight", "backlight", sorted(DOORS, key=str.lower), first)}
    for room, title in ROOMS.items():
        found[f"{room}.rst"] = _room(f"backlight.{room}", f"{title} (backlight.{room})")
    found["results.rst"] = _room(
        "backlight.studies.results", "What all results have (backlight.studies.results)"
    )
    for study in STUDIES:
        found[f"studies.{study}.rst"] = _room(f"backlight.studies.{study}", f"backlight.studies.{study}")
    return found | {"commands.md": commands_page(), "atlas-file.md": schema_page()}


# --- names ------------------------------------------------------------------------------------------------------


def _room(module: str, title: str) -> str:
    names = [name for name in public_names(module) if not _is_a_door(module, name)]
    doors = [name for name in public_names(module) if _is_a_door(module, name)]
    intro = inspect.getdoc(import_module(module)) or ""
    if doors:
        intro += "\n\nOn :doc:`the first page <backlight>`: "
        intro += ", ".join(f":py:obj:`~backlight.{name}`" for name in doors) + "."
    return _page(module, title, names, intro)


def public_names(module: str) -> list[str]:
    """Return the names that a module offers: its `__all__`, or what it defines without an underscore."""
    found = import_module(module)
    names = getattr(found, "__all__", None)
    if names is None:
        own = (name for name, value in vars(found).items() if getattr(value, "__module__", None) == module)
        names = [*own, *_documented_data(module)]
    return sorted((n for n in set(names) if not n.startswith("_")), key=str.lower)


def _is_a_door(module: str, name: str) -> bool:
    return name in DOORS and getattr(import_module("backlight"), name) is getattr(import_module(module), name)


def _page(module: str, title: str, names: list[str], intro: str) -> str:
    parts = [title, "=" * len(title), "", intro, "", f".. py:currentmodule:: {module}", ""]
    for name in names:
        parts += _entry(module, name)
    return "\n".join(parts) + "\n"


def _entry(module: str, name: str) -> Iterator[str]:
    value = getattr(import_module(module), name)
    full = f"{module}.{name}"
    if isinstance(value, ModuleType):
        return
    if inspect.isclass(value) and issubclass(value, BaseException):
        yield from (f".. autoexception:: {full}", "   :show-inheritance:", "   :members:", "")
    elif inspect.isclass(value):
        yield from (f".. autoclass:: {full}", "   :members:", "")
    elif inspect.isfunction(value):
        yield from (f".. autofunction:: {full}", "")
    else:
        said = _documented_data(origin(module, name)).get(name, "")
        yield from (f".. py:data:: {name}", "", *(f"   {line}".rstrip() for line in said.splitlines()), "")


def origin(module: str, name: str) -> str:
    """Return the module that a package takes a name from, as its list of imports says."""
    place = Path(inspect.getfile(import_module(module)))
    for path in (place.with_suffix(".pyi"), place):
        if path.exists():
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and name in {
                    own.asname or own.name for own in node.names
                }:
                    base = module.split(".")[: len(module.split(".")) + 1 - node.level] if node.level else []
                    return origin(".".join([*base, node.module] if node.module else base), name)
    return module


def _documented_data(module: str) -> dict[str, str]:
    """Return the texts that stand below a module's constants and type names, by name."""
    body = ast.parse(inspect.getsource(import_module(module))).body
    found = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        text = after.value if isinstance(after, ast.Expr) else None
        for target in targets:
            if (
                isinstance(target, ast.Name)
                and isinstance(text, ast.Constant)
                and isinstance(text.value, str)
            ):
                found[target.id] = inspect.cleandoc(text.value)
    return found


# --- commands ---------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return the page of the command line: every command with its arguments and options, by groups."""
    parts = [
        "# The command line",
        "",
        "What `backlight COMMAND --help` says, of every command. Exit codes: 0 done, 2 bad input, 1 failed work, 130 "
        "stopped by Ctrl-C.",
        "",
        "With every command, or without one:",
        "",
        *_listed(global_options()),
    ]
    group = ""
    for command in reference():
        parts += [f"## {command.group}", ""] * (command.group != group)
        group = command.group
        parts += [f"### backlight {command.name}", ""]
        for text in (command.summary, *command.details):
            parts += [_markdown(text), ""]
        parts += ["```text", " ".join(["backlight", command.name, *command.usage]), "```", ""]
        parts += _listed(command.arguments)
        for title, options in command.panels.items():
            parts += [f"**{title}**", ""] if title != OPTIONS else []
            parts += _listed(options)
    return "\n".join(parts)


def _listed(parameters: Iterable[Parameter]) -> Iterator[str]:
    for own in parameters:
        default = f" Default: `{own.default}`." if own.default is not None else ""
        required = " *Required.*" if own.is_required and own.is_option else ""
        yield from (f"`{own.typed}`", f": {_markdown(own.help)}{required}{default}", "")


def _markdown(text: str) -> str:
    """Return a help text with options as code, and what Markdown would read as its own signs left as they are."""
    escaped = re.sub(r"([*_<>#|\[\]])", r"\\\1", text)
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", escaped)


# --- the atlas file ---------------------------------------------------------------------------------------------

# What each table and the view hold; a table that is not named here stops the build of the site.
TABLES = {
    "hits": "For people and other programs: each hit with its layer, its image, and the box of pixels that the unit "
    "sees (half open; it may reach outside the image). Backlight itself never reads it.",
    "activation": "Where else in the image of a hit its map is active: the whole map as 8-bit codes of its own "
    "maximum, row by row, packed by zlib.",
    "band": "Examples that activate a map less strongly: one for each of the 64 bins of its histogram, with the "
    "columns of `hit`. Empty unless the atlas was built with `--bands`.",
    "certainty": "How many hits of each map, from the first, no rounding can put into another order.",
    "certify_state": "Candidates and answers while hits are being certified; empty afterwards.",
    "checksum": "The checksums, see above.",
    "evidence": "What studies found, as JSON: of a map, or, with channel -1, of the layer as a whole.",
    "feature_map": "The statistics of *every* map of a layer: the mean and the maximum of its peaks over the images, "
    "how many images activate it, and a histogram of 64 little-endian 64-bit counts.",
    "field": "Receptive fields, for the view: of a unit in row r, the first pixel row is r · `row_p` / `row_q` rounded "
    "down, plus `first_row`; `n_rows` rows follow. Columns alike. A stride of 0: the whole image.",
    "filters": "The filters of the layers next to the pixels, as an `.npy` array.",
    "hit": "The hits of the maps that are shown, rank 0 the strongest. `row` and `col` are the unit's place in its "
    "map, empty for a fully connected unit. `patch` is the tile of the image (WebP), `projection` its projection "
    "(lossless WebP, see above) with its `scale`.",
    "image": "The images of hits and of bands. `path` is relative to the set; height and width are those of the file.",
    "layer": "The layers. `description` is JSON: operator, shape, whether it rectifies, the receptive field, and the "
    "layers that feed it (an empty name is the image).",
    "map_filters": "The filters of the maps that are shown, for layers that follow a convolution, as an `.npy` array.",
    "meta": "What the atlas is of, one JSON value for each key: see below.",
    "picture": "The preprocessed images of hits, whole, as WebP.",
    "rule_layer": "A layer under another rule set than the atlas was built with; `description` as in `layer`.",
    "rule_set": "The other rule sets, as JSON.",
    "rule_tile": "The tiles of hits by another rule set, as in `hit`.",
    "scan_state": "The state of the scan for all maps of the layers, kept for maps that are added later.",
    "skipped": "Images that could not be read, each with the reason.",
    "study": "The results of studies in full, as `.npz`, by layer.",
}


def schema_page() -> str:
    """Return the page of the atlas's file format: its tables and columns, as SQLite itself lists them."""
    intro = (Path(__file__).parent / "reference" / "atlas-file-intro.txt").read_text("utf-8")
    parts = [intro.format(application_id=f"0x{schema.APPLICATION_ID:X}", version=schema.FORMAT_VERSION)]
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema._ALL)
    found = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 2"
    )
    for kind, name in found.fetchall():
        parts += [f"### {name if kind == 'table' else f'The view {name}'}", "", TABLES[name], ""]
        parts += ["| column | type | key |", "|---|---|---|"]
        for _, column, declared, _, _, key in connection.execute(f"PRAGMA table_info({name})"):
            parts.append(f"| `{column}` | {declared.lower() or 'any'} | {'yes' if key else ''} |")
        parts.append("")
    parts += [
        "### Groups with a checksum",
        "",
        "| kind | tables | keys | since format |",
        "|---|---|---|---|",
    ]
    for name, group in checksums.KINDS.items():
        tables = ", ".join(f"`{part.table}` ({part.columns})" for part in group.parts)
        keys = ", ".join(group.keys) + (f" / {group.block}" if group.block > 1 else "")
        parts.append(f"| {name} | {tables} | {keys} | {group.since} |")
    connection.close()
    return "\n".join(parts) + "\n"
