"""The scan that a finished atlas keeps: with it, further feature maps of its layers need no pass over the images."""

from __future__ import annotations

import io

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.reader import Atlas
from backlight.scan import Scan
from backlight.storage.arrays import read_npz


def kept_scan(atlas: Atlas) -> Scan | None:
    """Return the scan of all layers of an atlas, with what it had to skip.

    None while it is not finished, and in an atlas of an earlier version, which kept none.

    Raises:
        DamagedAtlasError: It cannot be read, or is not of the atlas's layers.
    """
    (rows,) = atlas.file.group("scan")
    if not rows or atlas.phase == "scan":
        return None
    with reading(atlas.path, place("scan")):
        checks.whole(rows[0][0], "n_done", atlas.image_set.n_images, atlas.image_set.n_images)
        found = Scan.from_arrays(list(atlas), read_npz(io.BytesIO(checks.blob(rows[0][1], "scan"))))
        for layer in atlas.layers:
            own = found.layers[layer.name]
            if not layer.n_maps == len(own.statistics.maxima) == len(own.hits.values):
                raise ValueError(f"it is not one of the {layer.n_maps} maps of {layer.name}")
    found.skipped.extend(atlas.skipped)
    return found
