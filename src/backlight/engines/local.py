"""The local engine: carries out a plan in this process, on the network's device.

For several shards or groups in a row it reads pictures ahead, and encodes tiles while the next are projected. A
`Worker` does the same a piece at a time, in any order: an engine that sends work elsewhere has one at each place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from backlight.engines.certify import answer
from backlight.engines.light import light_up
from backlight.engines.maps import HitMaps
from backlight.engines.pictures import Pictures, shown
from backlight.engines.plan import Plan, Shard
from backlight.engines.work import FinishedLight, FinishedTile, Group, LightGroup, Partial, PendingHit
from backlight.geometry import Box
from backlight.images import Picture, load_batches
from backlight.network.exact import ExactNetwork
from backlight.progress import Progress, silent
from backlight.projection import MOST_IMAGES, Projections, Projector, Unit
from backlight.scan import Scan, Scanner, make_scanner
from backlight.scan.certain import Answer, QuestionGroup
from backlight.storage.tiles import encode_patch, encode_projection, tile_box


class LocalEngine:
    """Carries out a plan in this process; see `Engine` for the methods."""

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress = silent) -> Iterator[Partial]:
        """Yield what is found in each shard.

        Args:
            plan: The plan.
            shards: Each of whole batches, but for the last.
            progress: Called with `compile`, then with `scan` after every batch, the last of a shard after the caller
                has dealt with the shard.
        """
        return Worker(plan).scan(shards, progress)

    def certify(self, plan: Plan, groups: Sequence[QuestionGroup]) -> Iterator[tuple[Answer, ...]]:
        """Yield the answers to each group of questions about hits."""
        return Worker(plan).certify(groups)

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        """Yield the tiles of each group; its pictures are read before it is run, and its tiles encoded after."""
        return Worker(plan).project(groups)

    def light(self, plan: Plan, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
        """Yield what is kept of each group of images."""
        return Worker(plan).light(groups)


class Worker:
    """Carries out pieces of one plan, one after another; what is made for the first serves the next ones too.

    Args:
        plan: The plan, on the device that is to do it.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scanner: Scanner | None = None
        self._pictures = Pictures(plan.images, plan.preprocessing)
        self._projectors = _Projectors(plan)
        self._maps = HitMaps(plan)
        self._exact: ExactNetwork | None = None

    def scan(
        self, shards: Sequence[Shard], progress: Progress = silent, alone: bool = False
    ) -> Iterator[Partial]:
        """Yield what is found in each shard.

        Args:
            shards: Each of whole batches, but for the last.
            progress: As for `LocalEngine.scan`.
            alone: Whether each partial holds all that is known of its shard, and progress counts these shards only.
                Otherwise partials may leave out what cannot stay in a merge with those before them.

        Raises:
            ActivationError: An activation is not finite; names the layer and the image.
            CompileError: The network cannot be compiled, and the plan does not fall back.
        """
        if not shards:
            return
        plan, settings, source = self._plan, self._plan.settings, self._plan.images
        if self._scanner is None:
            compiled, falls_back = settings.compiled, settings.falls_back
            self._scanner = make_scanner(plan.net, plan.layers, compiled, falls_back, progress)
        ids = [image_id for shard in shards for image_id in range(shard.start, shard.stop)]
        n_all = len(ids) if alone else plan.n_images
        n_done = n_all - len(ids)  # images of shards that an earlier run has finished
        # What all shards so far have found: later ones need not keep hits that it beats.
        found = Scan.empty(plan.layers, plan.n_candidates)
        # One reader for all shards, so that it reads ahead over their ends.
        with closing(load_batches(source, plan.preprocessing, ids, settings.batch_size)) as batches:
            for shard in shards:
                # `own` is the shard's alone: it starts without hits, with only the bars that they have to reach.
                own, sizes, n_left = found.after(), dict[int, tuple[int, int]](), len(shard)
                while n_left:
                    batch = next(batches)
                    names = [source.records[i].path for i in batch.ids]
                    self._scanner.add(own, batch.tensor, batch.ids, names)
                    own.skipped.extend(batch.skipped)
                    sizes |= zip(batch.ids, batch.sizes, strict=True)
                    n_left -= len(batch.ids) + len(batch.skipped)
                    if n_left:
                        progress("scan", n_done + len(shard) - n_left, n_all)
                yield Partial(shard, own, sizes, self._scanner.is_compiled)
                if not alone:
                    found = found.merge(own)
                n_done += len(shard)
                progress("scan", n_done, n_all)

    def certify(self, groups: Sequence[QuestionGroup]) -> Iterator[tuple[Answer, ...]]:
        """Yield the answers to each group of questions about hits."""
        if self._exact is None:
            self._exact = ExactNetwork(self._plan.net, self._plan.layers)
        return answer(self._plan, self._maps, self._exact, self._pictures, groups)

    def project(self, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        """Yield the tiles of each group; its pictures are read before it is run, and its tiles encoded after."""
        plan, pictures = self._plan, self._pictures
        with ThreadPoolExecutor(2, "backlight-tiles") as pool:
            # While a group is projected, the pictures of the next one are read and the tiles of the last one encoded.
            # `reading` and `encoding` each are one group's at a time, so `pictures` needs no lock.
            encoding: list[Future[FinishedTile]] = []
            reading = pool.submit(pictures.of, _image_ids(groups[0])) if groups else None
            for at, group in enumerate(groups):
                seen = reading.result() if reading is not None else {}
                last = at + 1 == len(groups)
                reading = None if last else pool.submit(pictures.of, _image_ids(groups[at + 1]))
                # On the device, while the pool works; only then are the last group's tiles waited for.
                projections = _project(plan, self._projectors.of(group), group, seen)
                if encoding:
                    yield [tile.result() for tile in encoding]
                encoding = [pool.submit(_tile, *part) for part in _to_encode(plan, group, projections, seen)]
            if encoding:
                yield [tile.result() for tile in encoding]

    def light(self, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
        """Yield what is kept of each group of images."""
        return light_up(self._maps, self._pictures, groups)


def _image_ids(group: Group) -> list[int]:
    return [hit.image_id for hit in group.hits]


def _project(plan: Plan, projector: Projector, group: Group, seen: dict[int, Picture]) -> Projections:
    """Return the projections of a group's hits from the pictures that the network sees, by image id."""
    # Several hits may share an image, which is run once: `place` is its row in the batch of inputs (n, c, h, w).
    place = {image_id: at for at, image_id in enumerate(seen)}
    units = [Unit(plan.layers[hit.layer_index].name, hit.channel, hit.row, hit.col) for hit in group.hits]
    inputs = plan.preprocessing.normalise(list(seen.values()))
    return projector(inputs, units, [place[hit.image_id] for hit in group.hits])


def _to_encode(
    plan: Plan, group: Group, projections: Projections, seen: dict[int, Picture]
) -> Iterator[tuple[PendingHit, NDArray[np.uint8], Box, NDArray[np.float32]]]:
    """Yield of each hit what its tile is made of: its picture, its box inside the image, its projection (h, w, c)."""
    size = plan.preprocessing.crop
    for i, hit in enumerate(group.hits):
        # The tile's box may reach over the input's edges: only what lies inside is kept.
        field = plan.layers[hit.layer_index].receptive_field
        box = tile_box(field, hit.row, hit.col, size).clip(*size)
        # (c, h, w) on the device becomes (h, w, c) here, as tiles are kept.
        signal = projections.on(i, box).permute(1, 2, 0).float().cpu().numpy()
        yield hit, shown(seen[hit.image_id]), box, signal


def _tile(hit: PendingHit, picture: NDArray[np.uint8], box: Box, signal: NDArray[np.float32]) -> FinishedTile:
    """Return a hit's tile from the picture that the network saw and the projection on the box."""
    codes, scale = encode_projection(signal)
    return FinishedTile(hit, encode_patch(picture[box.slices()]), codes, scale)


class _Projectors:
    """The projector of the latest group, used again while groups share it: the network is rewritten for it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._latest: Projector | None = None
        self._key: tuple[object, ...] | None = None

    def of(self, group: Group) -> Projector:
        key = group.layers, group.rules, group.crops
        if self._latest is None or key != self._key:
            plan, self._key = self._plan, key
            layers = [plan.layers[i] for i in group.layers]
            n_images = min(plan.settings.batch_size, MOST_IMAGES)
            self._latest = Projector(plan.net, layers, group.rules, group.crops, n_images)
        return self._latest
