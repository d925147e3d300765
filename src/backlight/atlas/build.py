"""Building an atlas: scan all images, then project the hits of every feature map; what is done is never lost.

*Source*: Zeiler & Fergus (2013), Fig. 2: for a feature map the nine strongest activations over the validation
set, each projected separately, beside the patches that caused them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas.plan import Maps, Plan, identity, make_plan, projection_groups, tile_box
from backlight.atlas.reader import Atlas, open_atlas
from backlight.atlas.tiles import encode_patch, encode_projection
from backlight.atlas.writer import AtlasWriter, FinishedTile, PendingHit
from backlight.geometry import Box
from backlight.images import Batch, ImageSource, OneImage, Picture, Preprocessing, load_batches, open_images
from backlight.network import Layer, Network
from backlight.network.layers import Layers
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.operators.table import is_convolution
from backlight.projection import MOST_IMAGES, MOST_UNITS, Projector, Unit, check_rules
from backlight.scan import Compile, Progress, make_scanner

SCAN_STEP_IMAGES = 256
_KEPT_PICTURES = 512


def build(
    net: Network,
    images: ImageSource | Sequence[OneImage] | Path | str,
    path: Path | str,
    layers: Layers | None = None,
    top: int = 9,
    rules: RuleSet | Mapping[str, RuleSet] = DECONVNET,
    *,
    maps: Maps = None,
    seed: int = 0,
    batch_size: int = 32,
    compile: Compile = "auto",
    progress: Progress | None = None,
) -> Atlas:
    """Build an atlas, or go on with one that was interrupted, and return it.

    Args:
        net: The captured network, with a preprocessing.
        images: Whatever `open_images` takes: a folder, a list file, tar shards, pictures.
        path: The file to write: one SQLite database. If it holds a part of this very atlas, only the rest is
            done.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits of a feature map.
        rules: How a signal goes down; by layer name if it differs, DECONVNET for the layers that are not named.
        maps: Feature maps of each layer to project: a number drawn at random, a list of channels, None for
            all. Statistics are kept of all of them.
        seed: Decides which maps a number draws.
        batch_size: Images that are read together, and projected in one forward pass at most; a resumed atlas
            keeps the one that it was begun with.
        compile: Whether to compile the network for the scan: `on`, `off`, or `auto`, by the rule of
            `backlight.scan.should_compile`; a resumed atlas keeps what it was begun with, and torch's number of
            threads likewise.
        progress: Called with `compile`, `scan` or `project`, the number done and the number in all.

    Returns:
        The finished atlas, opened for reading.

    Raises:
        BadInputError: An unknown layer, a channel out of range, no image, no preprocessing.
        AtlasError: The file is no atlas, or was begun with something else.
        UnsupportedOperatorError: An operator between a layer and the pixels has no rule; raised before any work.
        ActivationError: An activation is not finite; names the layer and the image.
        CompileError: With `on`: the network could not be compiled.
        StorageError: The file cannot be written, or another run is writing it.

    *Convention*: a hit is an activation above zero; a map that has none is dead and keeps no tile. Pictures that
    cannot be read are skipped and listed with their reasons.
    """
    source, path = open_images(images), Path(path)
    plan = make_plan(net, source, rules, layers, top, maps, seed, batch_size)
    for own in set(plan.rules):
        check_rules(net, [y for y, its in zip(plan.layers, plan.rules, strict=True) if its == own], own)
    writer = AtlasWriter(path, plan, identity(net, source, plan))
    try:
        with _torch_threads(writer.threads):
            _Build(net, source, plan, writer, compile, progress).run()
    finally:
        writer.close()
    return open_atlas(path)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Run a block on so many of torch's threads: how sums are split among them decides their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Build:
    """One run of a build over an open writer."""

    def __init__(
        self,
        net: Network,
        source: ImageSource,
        plan: Plan,
        writer: AtlasWriter,
        compile: Compile,
        progress: Progress | None,
    ) -> None:
        self.net, self.source, self.plan, self.writer, self.compile = net, source, plan, writer, compile
        self.progress = progress or (lambda *_: None)
        self.pictures = _Pictures(source, plan.preprocessing)

    def run(self) -> None:
        if self.writer.phase == "scan":
            self._scan()
        if self.writer.phase == "project":
            for index, layer in enumerate(self.plan.layers):
                weights = first_filters(self.net, layer)
                if weights is not None:
                    self.writer.write_filters(index, weights)
            self._project()
            self.writer.finish()

    def _scan(self) -> None:
        state, n_done = self.writer.load_scan()
        scanner = make_scanner(
            self.net,
            self.plan.layers,
            self.compile,
            len(self.source) - n_done,
            self.writer.compiled,
            self.progress,
        )
        self.writer.keep_compiled(scanner.is_compiled)
        unsaved: list[Batch] = []
        n_saved = n_done
        for batch in load_batches(
            self.source, self.plan.preprocessing, range(n_done, len(self.source)), self.writer.batch_size
        ):
            scanner.add(state, batch.tensor, batch.ids, [self.source.records[i].path for i in batch.ids])
            n_done += len(batch.ids) + len(batch.skipped)
            unsaved.append(batch)
            if n_done - n_saved >= SCAN_STEP_IMAGES:
                self.writer.save_scan(state, n_done, unsaved, self.source)
                n_saved, unsaved = n_done, []
            self.progress("scan", n_done, len(self.source))
        self.writer.save_scan(state, n_done, unsaved, self.source)
        self.writer.finish_scan(state)

    def _project(self) -> None:
        pending = [self.writer.pending(i) for i in range(len(self.plan.layers))]
        finished = {(i, *place) for i in range(len(pending)) for place in self.writer.finished(i)}
        n_done, n_all = 0, sum(map(len, pending))
        for projector, batches in self._groups(pending):
            left = [b for b in batches if any((h.layer_index, h.channel, h.rank) not in finished for h in b)]
            n_done += sum(map(len, batches)) - sum(map(len, left))
            for tiles in self._tiles(projector, left):
                self.writer.write_tiles(tiles)
                n_done += len(tiles)
                self.progress("project", n_done, n_all)

    def _groups(self, pending: list[list[PendingHit]]) -> Iterator[tuple[Projector, list[list[PendingHit]]]]:
        """Yield the hits in fixed batches, each with what projects it; those on whole images image by image."""
        net, plan = self.net, self.plan
        n_images = min(self.writer.batch_size, MOST_IMAGES)
        images_of = [[hit.image_id for hit in hits] for hits in pending]
        for rules, group, crops in projection_groups(net, plan, images_of):
            projector = Projector(net, [plan.layers[i] for i in group], rules, crops, n_images)
            hits = [hit for i in group for hit in pending[i]]
            if crops is not None:
                yield projector, _slices(hits, projector.batch_size, projector.batch_size)
            else:
                hits.sort(key=lambda hit: hit.image_id)
                yield projector, _slices(hits, MOST_UNITS, projector.batch_size)

    def _tiles(
        self, projector: Projector, batches: Sequence[Sequence[PendingHit]]
    ) -> Iterator[list[FinishedTile]]:
        """Yield the tiles of each batch; pictures are read before their batch is run, and tiles encoded after."""
        with ThreadPoolExecutor(2, "backlight-tiles") as pool:
            encoding: list[Future[FinishedTile]] = []
            reading = pool.submit(self._read, batches[0]) if batches else None
            for batch, hits in enumerate(batches):
                pictures = reading.result() if reading is not None else {}
                reading = pool.submit(self._read, batches[batch + 1]) if batch + 1 < len(batches) else None
                place = {image_id: at for at, image_id in enumerate(pictures)}
                units = [
                    Unit(self.plan.layers[hit.layer_index].name, hit.channel, hit.row, hit.col)
                    for hit in hits
                ]
                inputs = self.plan.preprocessing.normalise(list(pictures.values()))
                found = projector(inputs, units, [place[hit.image_id] for hit in hits])
                if encoding:
                    yield [tile.result() for tile in encoding]
                boxes = [self._box(hit) for hit in hits]
                signals = [
                    found.on(i, box).permute(1, 2, 0).float().cpu().numpy() for i, box in enumerate(boxes)
                ]
                seen = [_shown(pictures[hit.image_id]) for hit in hits]
                parts = zip(hits, seen, boxes, signals, strict=True)
                encoding = [pool.submit(_tile, *part) for part in parts]
            if encoding:
                yield [tile.result() for tile in encoding]

    def _read(self, hits: Sequence[PendingHit]) -> dict[int, Picture]:
        return {hit.image_id: self.pictures[hit.image_id] for hit in hits}

    def _box(self, hit: PendingHit) -> Box:
        field, crop = self.plan.layers[hit.layer_index].receptive_field, self.plan.preprocessing.crop
        return tile_box(field, hit.row, hit.col, crop).clip(*crop)


def _slices(hits: Sequence[PendingHit], most: int, most_images: int) -> list[list[PendingHit]]:
    """Return the hits in slices of at most so many, of at most so many images."""
    slices: list[list[PendingHit]] = []
    images: set[int] = set()
    for hit in hits:
        if not slices or len(slices[-1]) == most or len(images | {hit.image_id}) > most_images:
            slices.append([])
            images = set()
        slices[-1].append(hit)
        images.add(hit.image_id)
    return slices


def _shown(picture: Picture) -> NDArray[np.uint8]:
    """Return the pixels of a picture as people see it, 8 bits: "L" of grey, "RGB" of colour."""
    is_grey = picture.mode == "L" if isinstance(picture, Image.Image) else picture.values.ndim == 2
    return np.asarray(picture.convert("L" if is_grey else "RGB"))


def _tile(hit: PendingHit, picture: NDArray[np.uint8], box: Box, signal: NDArray[np.float32]) -> FinishedTile:
    """Return a hit's tile from the picture that the network saw and the projection on the box."""
    codes, scale = encode_projection(signal)
    return FinishedTile(hit, encode_patch(picture[box.slices()]), codes, scale)


class _Pictures:
    """The latest pictures, as the network sees them; bounded, so that memory does not grow with the set."""

    def __init__(self, source: ImageSource, preprocessing: Preprocessing) -> None:
        self._source, self._preprocessing = source, preprocessing
        self._kept: OrderedDict[int, Picture] = OrderedDict()

    def __getitem__(self, image_id: int) -> Picture:
        if image_id not in self._kept:
            self._kept[image_id] = self._preprocessing.picture(self._source.load(image_id))
            if len(self._kept) > _KEPT_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(image_id)
        return self._kept[image_id]


def first_filters(net: Network, layer: Layer) -> NDArray[np.float32] | None:
    """Return the filters (n, c, k, k) of a layer whose convolution reads the pixels; None for a deeper layer."""
    node: Any = net.node(layer)
    weights = None
    while node.op != "placeholder":
        if is_convolution(node):
            if weights is not None:
                return None
            weights = node.args[1]
        below = net.analysis.signal_inputs(node)
        if len(below) != 1:
            return None
        node = below[0]
    if weights is None:
        return None
    tensor = net.module.get_buffer(weights.name) if weights.op == "get_attr" else None
    square = tensor is not None and tensor.dim() == 4 and tensor.shape[0] == layer.n_maps
    return tensor.float().cpu().numpy() if tensor is not None and square else None
