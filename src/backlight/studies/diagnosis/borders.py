"""Padding: maps whose strongest positions lie at the border, and layers that pad their edges unevenly.

*Source*: Alsallakh et al. (2021), *Mind the Pad*: what zeros at the edge do, and the arithmetic of uneven padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backlight.network import Layer, Network
from backlight.network.sources import direct_sources
from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.result import DiagnosisConfig, Finding
from backlight.studies.diagnosis.sizes import even_sizes, overhang
from backlight.studies.diagnosis.verdicts import Outcome
from backlight.studies.intervals import share_interval

_LEAST_HITS = 12
"""Images that must wake a map before its positions say anything."""
REGIONS = ("border", "top row", "bottom row", "left column", "right column")


def find_border_detectors(record: Record, turned: Record, config: DiagnosisConfig) -> Outcome:
    """Test for each map whether its strongest positions lie at the border, or along one edge, whatever lies there.

    Photographs have other things at their edges than in their middle, so a map that prefers an edge need not see the
    padding. A map that does prefers it too in images whose middle was turned out (`inputs.turned_out`). The null is
    tested on those: the share that lies there in the layer's other maps, or by chance, whichever is more, and half of
    the way from it to all.

    Args:
        record: What was seen of the layer.
        turned: What was seen of it in images turned out.
        config: From which share on a map is a border detector.
    """
    found, name = Outcome(), record.layer.name
    height, width = record.layer.shape[1:]
    if min(height, width) < 3:
        found.lack("border", name, f"maps of {height}x{width} have no inside to compare their border with")
        return found
    plain, changed = _Positions.of(record), _Positions.of(turned)
    known = np.flatnonzero((plain.totals >= _LEAST_HITS) & (changed.totals >= _LEAST_HITS))
    if not len(known):
        found.lack(
            "border", name, f"no map is above zero in {_LEAST_HITS} images, so there are too few positions"
        )
        return found
    found.add(
        "border", name, record.layer.n_maps, [_border(record, int(c), plain, changed, config) for c in known]
    )
    return found


@dataclass(frozen=True)
class _Positions:
    """Where the strongest positions of a layer's maps lie.

    Attributes:
        counts: (regions, c) images in which the strongest position lies in each of `REGIONS`.
        totals: (c,) images that wake each map.
        expected: (regions,) the share that lies there in a map that is like the others.
    """

    counts: NDArray[np.int64]
    totals: NDArray[np.int64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, record: Record) -> _Positions:
        height, width = record.layer.shape[1:]
        awake = record.maxima > 0
        at = np.stack([own & awake for own in regions(record.places, height, width)])  # (regions, n, c)
        counts, totals = at.sum(1), awake.sum(0)
        known = totals >= _LEAST_HITS
        shares = counts[:, known] / totals[known]
        usual = np.median(shares, axis=1) if known.any() else np.zeros(len(REGIONS))
        return cls(counts, totals, np.maximum(usual, chances(height, width)))

    def excess(self, channel: int) -> NDArray[np.float64]:
        """Return (regions,) how much of what could lie there beyond the expected share does, at most 1."""
        share = self.counts[:, channel] / self.totals[channel]
        return np.asarray((share - self.expected) / np.maximum(1 - self.expected, 1e-9))


def regions(places: NDArray[np.int64], height: int, width: int) -> list[NDArray[np.bool_]]:
    """Return for each of `REGIONS` which places (n, c, 2) lie in it."""
    row, col = places[..., 0], places[..., 1]
    edges = [row == 0, row == height - 1, col == 0, col == width - 1]
    return [np.logical_or.reduce(edges), *edges]


def chances(height: int, width: int) -> NDArray[np.float64]:
    """Return the share of a map's places that lie in each region."""
    ring = 1 - (height - 2) * (width - 2) / (height * width)
    return np.array([ring, 1 / height, 1 / height, 1 / width, 1 / width])


def _border(
    record: Record, channel: int, plain: _Positions, turned: _Positions, config: DiagnosisConfig
) -> Finding:
    """Return the test of a map in the region that accuses it most."""
    # what the images as they are and turned out both say
    excess = np.minimum(plain.excess(channel), turned.excess(channel))
    best, n = int(np.argmax(excess)), int(turned.totals[channel])
    count, expected = int(turned.counts[best, channel]), float(turned.expected[best])
    limit = expected + config.border * (1 - expected)
    p = len(REGIONS) * stats.binom.sf(count - 1, n, min(limit, 1 - 1e-9))
    low, high = share_interval(count, n)
    ratio = _border_ratio(record.mean_map[channel])
    before = plain.counts[best, channel] / plain.totals[channel]
    return Finding(
        kind="border",
        layer=record.layer.name,
        channels=(channel,),
        value=count / n,
        unit="share",
        limit=limit,
        null=f"at most {limit:.0%} of the positions there; {expected:.0%} in the layer's other maps or by chance",
        says=f"{before:.0%} of its strongest positions lie in the {REGIONS[best]}, {count / n:.0%} with the "
        f"images' middle turned out (usual: {expected:.0%}); {ratio:.1f} times as strong at the border as inside",
        low=low,
        high=high,
        p=float(min(p, 1)),
        is_found=bool(excess[best] > config.border),
    )


def _border_ratio(mean: NDArray[np.float64]) -> float:
    """Return how much stronger a mean map (h, w) is at its border than inside."""
    inside = float(mean[1:-1, 1:-1].mean())
    n_inside = mean[1:-1, 1:-1].size
    border = (float(mean.sum()) - inside * n_inside) / (mean.size - n_inside)
    return border / inside if inside > 0 else float("inf") if border > 0 else 1.0


def find_uneven(net: Network, layers: Sequence[Layer]) -> Outcome:
    """Find the layers whose fields reach further over one edge of the image than over the other, by arithmetic.

    A stride that does not end at the edge leaves padding there unread: a 3x3 kernel with stride 2 and padding 1 reads
    an even number of rows with one row of zeros at the top and none at the bottom. Blamed is a layer that is uneven in
    another way than the layers that it is made from.
    """
    found = Outcome()
    sources = direct_sources({layer.name: net.node(layer) for layer in layers})
    uneven: dict[str, tuple[int, int]] = {}
    for layer in layers:
        field, size = layer.receptive_field, net.input_shape[1:]
        if field is None or field.is_whole:
            found.lack("uneven", layer.name, "its units see the whole image")
            continue
        axes = zip((field.rows, field.cols), layer.shape[1:], size, strict=True)
        reach = [overhang(*own) for own in axes]
        rows, cols = (after - before if max(before, after) > 0 else 0 for before, after in reach)
        below = [uneven[name] for name in sources[layer.name] if name in uneven]
        uneven[layer.name] = rows, cols
        before_it = below or [(0, 0)]
        is_new = any(own not in {one[axis] for one in before_it} for axis, own in enumerate((rows, cols)))
        found.add("uneven", layer.name, layer.n_maps, [_uneven(net, layer, (rows, cols), reach, is_new)])
    return found


def _uneven(
    net: Network, layer: Layer, uneven: tuple[int, ...], reach: Sequence[tuple[int, int]], is_new: bool
) -> Finding:
    axis = int(np.argmax(np.abs(uneven)))
    before, after = reach[axis]
    edges = ("top", "bottom") if axis == 0 else ("left", "right")
    says = f"its fields reach {before} pixels over the {edges[0]} edge and {after} over the {edges[1]}"
    if is_new:
        sizes = even_sizes(net, layer) if any(uneven) else ()
        near = " or ".join(map(str, sizes))
        says += f"; even would be inputs of {near} pixels" if sizes else "; no input size near makes it even"
    return Finding(
        kind="uneven",
        layer=layer.name,
        channels=(),
        value=float(abs(uneven[axis])),
        unit="pixels",
        limit=0.0,
        null="as many pixels of padding at either edge",
        says=says,
        is_found=is_new,
    )
