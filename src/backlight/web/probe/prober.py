"""The prober: what a network finds in an image, as plain data for the page."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backlight.atlas import AtlasLayer, FeatureMap
from backlight.atlas.cards import as_png
from backlight.errors import ActivationError, BadInputError, UnsupportedOperatorError
from backlight.geometry import Box
from backlight.images import ImageSource
from backlight.inversion import invert
from backlight.network import Network
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.progress import Progress
from backlight.projection import Unit, activations, check_unit, superpose
from backlight.render import Tile, blend, draw_patch, draw_projection, into_image, trimmed
from backlight.scan.statistics import bins_of
from backlight.studies.checks import check_belongs, check_finished, check_network
from backlight.studies.occlusion import OcclusionConfig
from backlight.studies.occlusion import run as occlude
from backlight.studies.projected import HitProjector
from backlight.studies.shown import tile_of, view
from backlight.web import links
from backlight.web.probe.results import Inverted, Looked, Occluded, Probed, ProbedImage, Projected, Strong
from backlight.web.probe.shelf import Held, Shelf
from backlight.web.sheets import dimming, draw_dimming, middles, webp
from backlight.web.views import Views

RULES = (DECONVNET, GUIDED, GRADIENT)
MOST_MAPS, TOP = 24, 3
"""Feature maps that are listed of an image, and units of a map that are superposed."""

_SIDE, _SQUARES = 224, 7
"""Longer side of a drawn tile; side of an image in squares that occlusion covers."""

_FLAT, _QUALITY = 0.3, 85


class Prober:
    """Looks at images by the network of an atlas.

    Args:
        views: What pages know of the atlas.
        net: The network that it was built with.
        source: The images that it was built over; None takes those that the atlas keeps.
        lock: Held while the atlas is read, which has one connection.

    Raises:
        BadInputError: The atlas is not finished, or was built with another network or over other images.
    """

    def __init__(self, views: Views, net: Network, source: ImageSource | None, lock: Lock) -> None:
        atlas = views.atlas
        check_finished(atlas)
        check_network(atlas, net)
        if source is not None:
            check_belongs(atlas, net, source)
        self._views, self._net, self._lock = views, net, lock
        is_same = net.preprocessing == atlas.preprocessing
        self.shelf = Shelf(atlas, source, lock, net.preprocessing if is_same else None)
        self._projectors: dict[str, HitProjector] = {}
        self._seen: tuple[str, str, NDArray[np.float32]] | None = None

    def image(self, held: Held) -> ProbedImage:
        """Return an image of the shelf as the page shows it."""
        return ProbedImage(held.id, held.name, held.note, _picture(held.picture))

    def look(self, image_id: str, layer: str, progress: Progress) -> Looked:
        """Return the strongest feature maps of a layer in an image."""
        held, own = self.shelf.get(image_id), self._layer(layer)
        progress("looking", 0, 1)
        found = self._activations(held, own)
        peaks = found.reshape(len(found), -1).max(1)
        order = np.argsort(-peaks, kind="stable")[:MOST_MAPS]
        maps = tuple(
            Strong(int(c), float(peaks[c]), _active(np.asarray(found[c])), self._href(own, int(c)))
            for c in order
            if peaks[c] > 0
        )
        return Looked(maps, int((peaks > 0).sum()), len(peaks))

    def probe(
        self, image_id: str, layer: str, channel: int, place: tuple[int, int] | None, progress: Progress
    ) -> Probed:
        """Return a unit in an image, projected by each rule set; without a place the map's strongest.

        Raises:
            BadInputError: The layer has no such unit.
        """
        held, own = self.shelf.get(image_id), self._layer(layer)
        unit = self._unit(held, own, channel, place)
        active = np.asarray(self._activations(held, own)[channel])
        progress("projecting", 0, len(RULES) + 1)
        box = view(self._net, self._net.layer(layer), unit)
        projections, tile = [], None
        for done, rules in enumerate(RULES, 1):
            found = self._projection(held, own, unit, rules)
            if isinstance(found, str):
                projections.append(Projected(rules.name, "", found))
            else:
                tile = self._tile(held, own, found, box)
                projections.append(Projected(rules.name, _webp(draw_projection(tile, _SIDE)), ""))
            progress("projecting", done, len(RULES) + 1)
        nothing = np.zeros((*held.picture.shape[:2], 1), np.float32)
        tile = tile or self._tile(held, own, nothing, box)
        with self._lock:
            feature_map, href = own[channel], self._href(own, channel)
        value = float(active if unit.row is None else active[unit.row, unit.col])
        return Probed(
            channel=channel,
            row=unit.row,
            col=unit.col,
            value=value,
            peak=float(active.max()),
            stronger=_stronger(feature_map, value),
            href=href,
            grid=None if active.ndim == 0 else (active.shape[0], active.shape[1]),
            active=_active(active),
            light=self._light(own, active),
            box=(box.top, box.left, box.height, box.width),
            patch=_webp(draw_patch(tile, _SIDE)),
            projections=tuple(projections),
            superposed=self._superposed(held, own, channel, active),
        )

    def occlude(
        self, image_id: str, layer: str, channel: int, place: tuple[int, int] | None, progress: Progress
    ) -> Occluded:
        """Return what covering each place of an image takes from a unit.

        Raises:
            BadInputError: The layer has no such unit, or the unit is silent.
        """
        held, own = self.shelf.get(image_id), self._layer(layer)
        unit = self._unit(held, own, channel, place)
        size = max(1, min(held.picture.shape[:2]) // _SQUARES)
        config = OcclusionConfig(
            size, max(1, size // 4), channel=channel, row=unit.row, col=unit.col, rules=own.rules
        )
        found = occlude(self._net, held.input, layer, config, progress=progress)
        whole = found.watched.unit_value
        if whole <= 0:
            raise BadInputError(
                "this unit is not active here, so covering takes nothing from it; choose another"
            )
        falls = 1 - found.unit_values / whole
        square = found.square(found.unit_values)
        return Occluded(
            picture=_picture(_lit(held.picture, found.by_pixel(np.clip(falls, 0, 1)))),
            size=size,
            largest=float(falls.max()),
            box=(square.top, square.left, square.height, square.width),
            agreement=found.agreement(found.unit_values, whole),
        )

    def invert(self, image_id: str, layer: str, progress: Progress) -> Inverted:
        """Return an image with the same activations in a layer; one that is stopped returns the best so far."""
        held, own = self.shelf.get(image_id), self._layer(layer)
        found = invert(self._net, held.input, own.name, progress=progress)
        error = float(found.shown.relative_errors[found.best])
        return Inverted(_webp(found.picture), error, found.curves.shape[1], found.stopped)

    def _layer(self, name: str) -> AtlasLayer:
        with self._lock:
            return self._views.atlas[name]

    def _unit(self, held: Held, layer: AtlasLayer, channel: int, place: tuple[int, int] | None) -> Unit:
        own = self._net.layer(layer.name)
        if place is None:
            active = self._activations(held, layer)
            if not 0 <= channel < len(active):
                raise BadInputError(f"channel {channel} is out of range: the layer has {len(active)} maps")
            if active.ndim == 1:
                return Unit(layer.name, channel)
            place = divmod(int(active[channel].argmax()), active.shape[2])
        unit = Unit(layer.name, channel, *place)
        check_unit(own, unit)
        return unit

    def _activations(self, held: Held, layer: AtlasLayer) -> NDArray[np.float32]:
        """Return the activations of a layer, (c, h, w) or (c,); those of the last call are kept."""
        if self._seen is None or self._seen[:2] != (held.id, layer.name):
            batch = self._net.prepare(held.input)
            found = activations(self._net, batch, self._net.layer(layer.name))[0].float().cpu().numpy()
            if not np.isfinite(found).all():
                raise ActivationError(f"the activations of {layer.name} are not finite in this image")
            self._seen = held.id, layer.name, found
        return self._seen[2]

    def _projection(
        self, held: Held, layer: AtlasLayer, unit: Unit, rules: RuleSet
    ) -> NDArray[np.float32] | str:
        """Return a projection over the image, (h, w, c); or why there is none."""
        if layer.name not in self._projectors:
            self._projectors = {layer.name: HitProjector(self._net, self._net.layer(layer.name))}
        inputs = [self._net.prepare(held.input)[0]]
        try:
            found = self._projectors[layer.name](inputs, [unit], rules)
        except UnsupportedOperatorError as error:
            return str(error)
        height, width = held.picture.shape[:2]
        return _as_array(found.on(0, Box(0, 0, height, width)))

    def _tile(self, held: Held, layer: AtlasLayer, values: NDArray[np.float32], box: Box) -> Tile:
        """Return a tile as the atlas shows the layer's: cut to what projections fill, and moved into the image."""
        tile = tile_of(held.picture, values, box)
        with self._lock:
            margin = self._views.margin(layer.name)
        return into_image(trimmed(tile, margin, moved=True), held.picture)

    def _light(self, layer: AtlasLayer, active: NDArray[np.float32]) -> str | None:
        if active.ndim == 0 or layer.receptive_field is None or active.max() <= 0:
            return None
        height, width = self._net.input_shape[1:]
        return links.inside(draw_dimming(dimming(_levels(active), middles(layer), (height, width))))

    def _superposed(self, held: Held, layer: AtlasLayer, channel: int, active: NDArray[np.float32]) -> str:
        """Return the projections of a map's strongest units, each by itself, added and drawn over the image."""
        if active.max() <= 0:
            return ""
        try:
            found = superpose(self._net, held.input, layer.name, TOP, channel, layer.rules)
        except UnsupportedOperatorError:
            return ""
        height, width = held.picture.shape[:2]
        values = tile_of(held.picture, _as_array(found), Box(0, 0, height, width)).projection
        return _picture(blend(held.picture, values))

    def _href(self, layer: AtlasLayer, channel: int) -> str | None:
        channels = layer.channels
        if channel not in channels:
            return None
        return links.feature_map(self._views.slugs[layer.name], channels.index(channel), channel)


def _stronger(feature_map: FeatureMap, value: float) -> float | None:
    """Return the share of the images whose strongest activation of a map lies in a higher bin of its histogram."""
    counts = feature_map.histogram
    if feature_map.dead:
        return None
    own = int(bins_of(np.array([value], np.float32))[0])
    return float(counts[own + 1 :].sum() / counts.sum())


def _levels(active: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return activations (h, w) as levels, 0 for silent and 255 for the strongest."""
    peak = float(active.max())
    shown = np.clip(active / peak, 0, 1) if peak > 0 else np.zeros_like(active)
    levels: NDArray[np.uint8] = np.rint(255 * shown).astype(np.uint8)
    return levels


def _active(active: NDArray[np.float32]) -> str:
    """Return where a map is active as a picture of a pixel for each unit, white for the strongest."""
    return links.inside(as_png(Image.fromarray(_levels(np.atleast_2d(active)))))


def _lit(picture: NDArray[np.uint8], light: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a picture as it is where the light is largest, and flat and grey where there is none."""
    share = (light / light.max() if light.max() > 0 else light)[..., None]
    flat = 128 + _FLAT * (picture.mean(2, keepdims=True) - 128)
    shown: NDArray[np.uint8] = np.rint(share * picture + (1 - share) * flat).astype(np.uint8)
    return shown


def _as_array(projection: Tensor) -> NDArray[np.float32]:
    return projection.permute(1, 2, 0).float().cpu().numpy()


def _picture(pixels: NDArray[np.uint8]) -> str:
    return _webp(Image.fromarray(pixels))


def _webp(picture: Image.Image) -> str:
    return links.inside(webp(picture, _QUALITY))
