"""A diagnosis of an atlas alone: what its statistics, its hits and its filters tell without the network.

That is less than the network and images tell: in how many images each map is above zero, where its hits lie, what its
first filters are, and whether a map's projections fall into two clusters. The rest is listed as lacking.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from backlight.atlas import Atlas, AtlasLayer, FeatureMap
from backlight.errors import BadInputError
from backlight.network.layers import Layers, layer_names
from backlight.studies.checks import check_finished
from backlight.studies.diagnosis.borders import REGIONS, chances, regions
from backlight.studies.diagnosis.causes import LEAST_HITS, LEAST_SHARE, one_cluster_p, two_clusters
from backlight.studies.diagnosis.pictures import SIDE
from backlight.studies.diagnosis.result import Diagnosis, DiagnosisConfig, Finding
from backlight.studies.diagnosis.rms import look_at_rms, rms_of
from backlight.studies.diagnosis.silent import look_at_waking, say_too_few
from backlight.studies.diagnosis.spectrum import BANDS, look_at_bands
from backlight.studies.diagnosis.verdicts import Outcome, verdicts
from backlight.studies.intervals import share_interval

_NEED_THE_MODEL = ("always_on", "duplicate", "aliased", "checkerboard", "uneven", "field")
_CELLS = 8
"""Rows and columns that projections are averaged to before they are compared."""


def run_on_atlas(
    atlas: Atlas, layers: Layers | None = None, config: DiagnosisConfig | None = None
) -> Diagnosis:
    """Return what an atlas tells of the network that it was built with.

    Args:
        atlas: A finished atlas.
        layers: Layers of the atlas; None takes all with rows and columns.
        config: From where on something is a finding.

    Raises:
        BadInputError: The atlas is not finished, or has no layer of maps.
        UnknownLayerError: The atlas has no such layer.
    """
    config = config or DiagnosisConfig()
    check_finished(atlas)
    named = [atlas[name] for name in (layer_names(layers) if layers is not None else list(atlas))]
    chosen = [own for own in named if len(own.shape) == 3]
    if not chosen:
        raise BadInputError(
            f"{atlas.path.name}: none of the layers has feature maps with rows and columns to diagnose"
        )
    tested = [_of_layer(atlas, layer, config) for layer in chosen]
    lacking = Outcome()
    if all(own.filters is None for own in chosen):
        lacking.lack("frequencies", None, "no layer is made from the pixels by one convolution")
    for kind in _NEED_THE_MODEL:
        lacking.lack(kind, None, "an atlas does not tell; give the model and images")
    found = verdicts([*tested, lacking])
    return Diagnosis(
        config=config,
        network=atlas.model.name,
        images=atlas.image_set.name,
        n_images=atlas.n_scanned,
        layers=tuple(own.name for own in chosen),
        findings=found.findings,
        looked_for=found.looked_for,
        lacking=found.lacking,
        pictures=np.zeros((0, SIDE, SIDE, 3), np.uint8),
    )


def _of_layer(atlas: Atlas, layer: AtlasLayer, config: DiagnosisConfig) -> Outcome:
    maps, n_images = [layer[channel] for channel in range(layer.n_maps)], atlas.n_scanned
    found = Outcome()
    if layer.rectified:
        awake = [round(own.active_share * n_images) for own in maps]
        say_too_few(found, layer.name, n_images, config)
        # what a filter of zeros gives is the same everywhere: silent once, it is silent always
        zero = [False] * len(maps) if layer.filters is None else (layer.filters == 0).all((1, 2, 3)).tolist()
        certain = [own and not count for own, count in zip(zero, awake, strict=True)]
        look_at_waking(found, layer.name, awake, certain, n_images, config)
    else:
        for kind in ("dead", "sleeping"):
            found.lack(kind, layer.name, "no rectifier makes this layer, so zero is no threshold of it")
    if layer.filters is not None:
        weight = torch.from_numpy(np.array(layer.filters))
        look_at_rms(found, layer.name, rms_of(weight), False, config)
        # what the images have in each band is not known: it is taken that they have something everywhere
        look_at_bands(found, layer.name, weight, np.ones(len(BANDS)) / len(BANDS), config)
    else:
        found.lack(
            "loud",
            layer.name,
            "an atlas does not tell what a batch norm makes of deeper filters; give the model and images",
        )
    _look_at_borders(found, layer, maps, config)
    _look_at_causes(found, layer, maps, atlas.preprocessing.crop, config)
    return found


def _look_at_borders(
    found: Outcome, layer: AtlasLayer, maps: list[FeatureMap], config: DiagnosisConfig
) -> None:
    """Add the tests of where the hits of a layer's maps lie."""
    height, width = layer.shape[1:]
    known = [own for own in maps if len(own.hits) >= LEAST_HITS]
    if min(height, width) < 3 or not known:
        reason = (
            f"no map has {LEAST_HITS} hits; build an atlas with more hits of each map"
            if min(height, width) >= 3
            else f"maps of {height}x{width} have no inside to compare their border with"
        )
        found.lack("border", layer.name, reason)
        return
    expected = chances(height, width)
    limits = expected + config.border * (1 - expected)
    tests = []
    for own in known:
        places = np.array([[(hit.row or 0, hit.col or 0) for hit in own.hits]])  # (1, hits, 2)
        counts, n = np.stack(regions(places, height, width)).sum((1, 2)), len(own.hits)
        best = int(np.argmax((counts / n - expected) / (1 - expected)))
        p = len(REGIONS) * float(stats.binom.sf(counts[best] - 1, n, limits[best]))
        low, high = share_interval(int(counts[best]), n)
        tests.append(
            Finding(
                kind="border",
                layer=layer.name,
                channels=(own.channel,),
                value=float(counts[best] / n),
                unit="share",
                limit=float(limits[best]),
                null=f"at most {limits[best]:.0%} of the positions there; {expected[best]:.0%} by chance",
                says=f"{counts[best]} of {n} hits lie in the {REGIONS[best]}, where {expected[best]:.0%} would by "
                "chance; the images may have something there too, which the model and images would tell",
                low=low,
                high=high,
                p=min(1.0, p),
                is_found=bool(counts[best] / n > limits[best]),
            )
        )
    found.add("border", layer.name, len(known), tests)


def _look_at_causes(
    found: Outcome,
    layer: AtlasLayer,
    maps: list[FeatureMap],
    size: tuple[int, int],
    config: DiagnosisConfig,
) -> None:
    """Add the tests for clusters among the projections of each map's hits."""
    # a field that reaches over the edge is cut there, which is no other cause
    inside = {own.channel: [hit for hit in own.hits if hit.box.clip(*size) == hit.box] for own in maps}
    known = [own for own in maps if len(inside[own.channel]) >= LEAST_HITS]
    if not known:
        reason = (
            f"no map has {LEAST_HITS} hits whose fields lie within the image; build an atlas with more hits"
        )
        found.lack("causes", layer.name, reason)
        return
    tests = []
    for own in known:
        points = np.stack([_described(hit.projection_values) for hit in inside[own.channel]])
        split = two_clusters(points)
        n_second = int(split.second.sum())
        least = min(n_second, len(points) - n_second)
        is_split = split.explained > config.split and least >= LEAST_SHARE * len(points)
        tests.append(
            Finding(
                kind="causes",
                layer=layer.name,
                channels=(own.channel,),
                value=split.explained,
                unit="share",
                limit=config.split,
                null="hits drawn from one normal distribution with the same covariance",
                says=f"its projections fall into two sets, of {len(points) - n_second} and {n_second} hits",
                p=one_cluster_p(points, split.explained, config.seed) if is_split else 1.0,
                is_found=is_split,
            )
        )
    found.add("causes", layer.name, len(known), tests)


def _described(projection: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what a projection (h, w, c) looks like: its magnitude and its colours on a small grid, of length 1."""
    planes = torch.from_numpy(np.ascontiguousarray(projection)).permute(2, 0, 1)[None].float()
    parts = torch.cat([planes, planes.abs().sum(1, keepdim=True)], 1)
    small = torch.nn.functional.adaptive_avg_pool2d(parts, _CELLS).flatten().double()
    found: NDArray[np.float64] = (small / small.norm().clamp(min=1e-30)).numpy()
    return found
