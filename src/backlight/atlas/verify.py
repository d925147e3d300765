"""Verifying an atlas: everything in its file is read once, and all damage is listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backlight.atlas import checks
from backlight.atlas.checksums import BLOCK, place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.descriptions import field_row
from backlight.atlas.reader import Atlas, open_atlas
from backlight.atlas.records import BandExample, FeatureMap, Hit
from backlight.errors import AtlasError, DamagedAtlasError
from backlight.progress import Progress, Watching, as_progress, shows_progress

_MOST_FINDINGS = 1000


@dataclass(frozen=True)
class Verified:
    """What reading all of an atlas has found.

    Attributes:
        counts: How many images, layers, feature maps, hits, tiles and so on were read and are intact.
        damaged: What is damaged and how, in reading order, at most a thousand findings; empty for a sound file.
        has_checksums: Whether the file has checksums: without them only what cannot be read is found.
        unfinished: Number of hits that are not projected yet, in an unfinished build.
    """

    counts: dict[str, int]
    damaged: tuple[str, ...]
    has_checksums: bool
    unfinished: int

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged


class _TooMuchError(Exception):
    """So much is damaged that more findings would help nobody."""


@shows_progress
def verify(path: Path | str, progress: Watching = None) -> Verified:
    """Read everything in an atlas and return what is damaged.

    Args:
        path: The file.
        progress: True shows bars; a function is called with `check`, the number of feature maps done and of all.

    Raises:
        AtlasError: There is no such file, it is not an atlas, or it is being written.
    """
    walk = _Walk()
    try:
        with walk.noting():
            opened = open_atlas(path)
            try:
                walk.everything(opened, as_progress(progress))
            finally:
                opened.close()
    except _TooMuchError:
        pass
    return Verified(dict(walk.counts), tuple(walk.damaged), walk.has_checksums, walk.unfinished)


class _Walk:
    """One reading of an atlas."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.has_checksums, self.unfinished = False, 0
        self._pictures: set[int] = set()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note damage in the block and continue after it."""
        try:
            yield
        except DamagedAtlasError as error:
            self.damaged.append(error.finding)
            if len(self.damaged) == _MOST_FINDINGS:
                raise _TooMuchError from error

    def everything(self, atlas: Atlas, progress: Progress) -> None:
        self.has_checksums = atlas.file.has_checksums
        self.counts["layers"] = len(atlas)
        for line in atlas.file.integrity():
            self.damaged.append(f"its pages: {line}")
        with self.noting():
            _ = atlas.origin
        with self.noting():
            atlas.file.group("scan")
        if atlas.file.has_certainty:
            query = "SELECT step FROM certify_state UNION SELECT key1 FROM checksum WHERE kind = 'certify'"
            with self.noting():
                for (step,) in atlas.file.rows("table certify_state", query):
                    with self.noting():
                        with reading(atlas.path, "table certify_state"):
                            checks.whole(step, "step")
                        atlas.file.group("certify", step)
        with self.noting():
            for number in range(-(-sum(atlas.images.n_listed) // BLOCK)):
                with self.noting():
                    self.counts["images"] += len(atlas.images.block(number))
        with self.noting():
            self.counts["pictures left out"] = len(atlas.skipped)
        self._format_3(atlas)
        n_all = sum(layer.n_maps for layer in atlas.layers) if atlas.phase not in ("scan", "certify") else 0
        for layer in atlas.layers:
            with self.noting():
                has_pictures = layer.filters is not None
                self.counts["filters"] += layer.map_filters is not None or has_pictures
            with self.noting():
                self.counts["studies"] += len(layer.studies)
            with self.noting():
                self.counts["layers with evidence"] += layer.evidence is not None
            for channel in range(layer.n_maps if n_all else 0):
                with self.noting():
                    self._map(layer[channel])
                progress("check", self.counts["feature maps"], n_all)

        with self.noting():
            for name in atlas.rule_sets[1:]:
                with self.noting(), closing(atlas.under(name)) as shown:
                    self._under(shown)

    def _under(self, atlas: Atlas) -> None:
        """Read the tiles of hits that another rule set projects."""
        for layer in atlas.layers:
            for channel in layer.channels:
                for hit in layer[channel].hits:
                    with self.noting():
                        _ = hit.tile
                        self.counts["tiles by other rules"] += 1

    def _format_3(self, atlas: Atlas) -> None:
        """Read what no feature map leads to: the whole pictures, and the fields of the view `hits`."""
        if not atlas.file.has_bands:
            return
        size = atlas.preprocessing.crop
        expected = [field_row(i, layer.receptive_field, size) for i, layer in enumerate(atlas.layers)]
        with self.noting():
            (rows,) = atlas.file.group("field")
            if rows != expected:
                raise damaged(atlas.path, place("field"), "the fields are not those of the layers")
        # A picture that lost its row has its checksum still.
        query = (
            "SELECT image_id FROM picture UNION SELECT key1 FROM checksum WHERE kind = 'picture' ORDER BY 1"
        )
        with self.noting():
            for (image_id,) in atlas.file.rows("table picture", query):
                with self.noting():
                    with reading(atlas.path, "table picture"):
                        self._pictures.add(checks.whole(image_id, "image_id"))
                    atlas.images.whole(image_id)
                    self.counts["whole pictures"] += 1

    def _map(self, feature_map: FeatureMap) -> None:
        self.counts["feature maps"] += 1
        self.counts["hits"] += len(feature_map.hits)
        if not feature_map.is_certain:
            self.counts["feature maps with uncertain hits"] += 1
        for hit in feature_map.hits:
            with self.noting():
                try:
                    hit.tile, hit.image  # noqa: B018 - they are read here
                    self.counts["tiles"] += 1
                except DamagedAtlasError:
                    raise
                except AtlasError:
                    self.unfinished += 1
            self._light(hit)
            with self.noting():
                self.counts["activation maps"] += hit.activation_map is not None
        with self.noting():
            self._bands(feature_map)

    def _bands(self, feature_map: FeatureMap) -> None:
        bands = feature_map.bands
        self.counts["examples of bands"] += len(bands)
        for example in bands:
            with self.noting():
                _ = example.image
                self.counts["tiles of examples"] += example.tile is not None
            self._light(example)

    def _light(self, own: Hit | BandExample) -> None:
        """Look for a whole picture that is nowhere; those that there are have been read, once each."""
        if own.image_id not in self._pictures:
            with self.noting():
                _ = own.whole
            self._pictures.add(own.image_id)  # what is missing is said once
