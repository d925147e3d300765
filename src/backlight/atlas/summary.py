"""What an atlas is and what it holds, in numbers: read from its tables, without PyTorch and without its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from backlight.atlas import checks
from backlight.atlas.damage import reading
from backlight.atlas.evidence import FAITHFULNESS, FORETELLING
from backlight.atlas.layers import AtlasLayer
from backlight.atlas.other_rules import OtherRules
from backlight.atlas.reader import Atlas
from backlight.geometry import WHOLE_IMAGE
from backlight.storage import holder
from backlight.text import counted


@dataclass(frozen=True)
class AtlasSummary:
    """What `summarise` found.

    Attributes:
        network: What the network is called.
        input_shape: (c, h, w) of one input.
        built_from: What `backlight build` was given: `model`, `weights`, `images`, and the options that decide, by
            their names; empty for a build from Python.
        images: Where the images were.
        n_images: How many the set has.
        n_read: How many of them were read.
        n_skipped: How many of them could not be.
        n_layers: Number of layers.
        n_maps: Number of feature maps of all layers.
        n_shown: How many of them were chosen for projection.
        top: Hits of a feature map, at most.
        rules: What the rules are called by which hits were projected.
        other_rules: The rule sets that were added, by which they were projected too.
        wholes: Whether the images of hits are kept whole.
        bands: Whether there are examples of the bands of histograms.
        studies: How many layers each study has an answer for, by its name.
        phase: `scan`, `certify`, `project`, `band` or `light` while it is unfinished, then `done`.
        missing: What an unfinished build has still to do, in words; None for a finished one.
        holder: Who is building it at the moment, in words; None for nobody.
        format_version: Of the file, from 1.
        has_checksums: Whether damage can be found (`backlight check`).
        n_bytes: Size of the file.
    """

    network: str
    input_shape: tuple[int, ...]
    built_from: dict[str, str | None]
    images: str
    n_images: int
    n_read: int
    n_skipped: int
    n_layers: int
    n_maps: int
    n_shown: int
    top: int
    rules: str
    other_rules: tuple[str, ...]
    wholes: bool
    bands: bool
    studies: dict[str, int]
    phase: str
    missing: str | None
    holder: str | None
    format_version: int
    has_checksums: bool
    n_bytes: int

    @property
    def is_done(self) -> bool:
        """Whether the build is finished."""
        return self.phase == "done"


def summarise(atlas: Atlas) -> AtlasSummary:
    """Return what an atlas is and what it holds.

    Raises:
        DamagedAtlasError: What is read of it is damaged.
    """
    file, layers, phase = atlas.file, atlas.layers, atlas.phase
    n_read, n_skipped = atlas.images.n_listed
    return AtlasSummary(
        network=atlas.model.name,
        input_shape=atlas.model.input_shape,
        built_from=atlas.origin,
        images=atlas.image_set.name,
        n_images=atlas.image_set.n_images,
        n_read=n_read,
        n_skipped=n_skipped,
        n_layers=len(layers),
        n_maps=sum(layer.n_maps for layer in layers),
        n_shown=sum(len(layer.channels) for layer in layers),
        top=atlas.selection.top,
        rules=atlas.rules.name,
        other_rules=tuple(name for name in atlas.rule_sets if name != atlas.rules.name),
        wholes=file.has_all("wholes"),
        bands=file.has_all("bands"),
        studies=_studies(layers),
        phase=phase,
        missing=None if phase == "done" else _missing(atlas, phase, n_read + n_skipped),
        holder=None if phase == "done" else holder(atlas.path),
        format_version=file.format_version,
        has_checksums=file.has_checksums,
        n_bytes=atlas.path.stat().st_size,
    )


def layer_summary(layer: AtlasLayer, others: Iterable[OtherRules] = ()) -> dict[str, Any]:
    """Return what an atlas says of a layer, for a table or JSON: its shape, field, rules, maps shown, and studies.

    Args:
        layer: The layer.
        others: The other rule sets of the atlas.
    """
    field = layer.receptive_field
    return {
        "name": layer.name,
        "operator": layer.operator,
        "shape": layer.shape,
        "rectified": layer.rectified,
        "receptive_field": WHOLE_IMAGE if field is None else field.in_words,
        "shown": layer.channels,
        "rules": layer.rules.name,
        "other_rules": [own.rules.of(layer.name).name for own in others],
        "studies": sorted(_studies([layer])),
    }


def _studies(layers: Any) -> dict[str, int]:
    """Return how many layers each study has an answer for."""
    found = Counter[str]()
    for layer in layers:
        found[FAITHFULNESS] += layer.evidence is not None
        found[FORETELLING] += layer.foretelling is not None
    return {name: n for name, n in found.items() if n}


def _missing(atlas: Atlas, phase: str, n_scanned: int) -> str:
    """Return what an unfinished build has still to do."""
    if phase == "scan":
        return f"{n_scanned} of {counted(atlas.image_set.n_images, 'image')} scanned"
    if phase == "certify":
        return "all images scanned, the order of nearly equal hits not settled yet"
    if phase == "light":
        return "all hits projected, their images not kept whole yet"
    table, what = ("hit", "hit") if phase == "project" else ("band", "example of a band")
    # sum, not count, as SQLite counts without steps (`backlight.atlas.listed`)
    query = f"SELECT coalesce(sum(projection IS NOT NULL), 0), coalesce(sum(1), 0) FROM {table}"
    ((done, n_all),) = atlas.file.rows(f"table {table}", query)
    with reading(atlas.path, f"table {table}"):
        n_all = checks.whole(n_all, "number of rows", 0)
        done = checks.whole(done, "number of projections", 0, n_all)
    several = "examples of bands" if what != "hit" else None
    return f"{done} of {counted(n_all, what, several)} projected"
