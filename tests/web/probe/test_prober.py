"""The prober: its numbers are those of the studies, and its pictures those of the atlas."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backlight
from backlight.atlas import Atlas
from backlight.errors import ActivationError, BadInputError, UnknownLayerError
from backlight.images import open_images
from backlight.network import Network
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED
from backlight.progress import silent
from backlight.projection import activations
from backlight.render import draw_projection
from backlight.scan.statistics import HISTOGRAM_EDGES
from backlight.studies import occlusion
from backlight.studies.shown import tile_of, view
from backlight.web.probe.jobs import Stopped
from backlight.web.probe.prober import Prober, _lit
from backlight.web.views import Views


def drawn(address: str) -> Image.Image:
    """Return the picture of a `data:` address."""
    start, _, content = address.partition(",")
    assert start in ("data:image/png;base64", "data:image/webp;base64")
    return Image.open(io.BytesIO(base64.b64decode(content, validate=True)))


def first_of(atlas: Atlas, prober: Prober) -> str:
    return prober.shelf.get(f"atlas-{next(iter(atlas.images))}").id


def maps_of(net: Network, prober: Prober, image: str, layer: str) -> np.ndarray:
    batch = net.prepare(prober.shelf.get(image).input)
    return activations(net, batch, net.layer(layer))[0].numpy()


@pytest.mark.parametrize("layer", ["1", "3", "5"])
def test_the_strongest_maps_come_first(atlas: Atlas, net: Network, prober: Prober, layer: str) -> None:
    image = first_of(atlas, prober)
    found, maps = prober.look(image, layer, silent), maps_of(net, prober, image, layer)
    peaks = maps.reshape(len(maps), -1).max(1)
    values = [own.value for own in found.maps]
    assert values == sorted((float(v) for v in peaks if v > 0), reverse=True)
    assert found.n_active == len(values)
    assert found.n_maps == len(maps)
    for own in found.maps:
        assert own.value == pytest.approx(float(peaks[own.channel]))
        assert (own.href is not None) == (own.channel in atlas[layer].channels)
        levels = np.asarray(drawn(own.active))
        expected = np.clip(np.atleast_2d(maps[own.channel]) / peaks[own.channel], 0, 1)
        assert np.array_equal(levels, np.rint(255 * expected).astype(np.uint8))


def test_a_unit_is_projected_by_each_rule_set(atlas: Atlas, net: Network, prober: Prober) -> None:
    image = first_of(atlas, prober)
    held = prober.shelf.get(image)
    found = prober.probe(image, "3", 1, (2, 3), silent)
    unit = backlight.Unit("3", 1, 2, 3)
    box = view(net, net.layer("3"), unit)
    assert (found.channel, found.row, found.col) == (1, 2, 3)
    assert found.value == pytest.approx(float(maps_of(net, prober, image, "3")[1, 2, 3]))
    assert found.box == (box.top, box.left, box.height, box.width)
    assert [own.rules for own in found.projections] == [DECONVNET.name, GUIDED.name, GRADIENT.name]
    for rules, own in zip((DECONVNET, GUIDED, GRADIENT), found.projections, strict=True):
        signal = backlight.project(net, net.prepare(held.input), [unit], rules)[0].permute(1, 2, 0).numpy()
        expected = np.asarray(draw_projection(tile_of(held.picture, signal, box), 224), np.float64)
        # WebP loses a little
        assert np.abs(np.asarray(drawn(own.picture), np.float64) - expected).mean() < 6


def test_without_a_place_it_is_the_strongest_of_the_map(atlas: Atlas, net: Network, prober: Prober) -> None:
    image = first_of(atlas, prober)
    maps = maps_of(net, prober, image, "1")
    found = prober.probe(image, "1", 0, None, silent)
    assert (found.row, found.col) == np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert found.value == found.peak == pytest.approx(float(maps[0].max()))
    assert found.grid == (12, 12)
    assert found.light is not None
    assert drawn(found.superposed).size == (12, 12)


def test_a_fully_connected_unit_has_no_place(atlas: Atlas, prober: Prober) -> None:
    found = prober.probe(first_of(atlas, prober), "5", 1, None, silent)
    assert (found.row, found.col, found.grid, found.light) == (None, None, None, None)
    assert found.box == (0, 0, 12, 12)


def test_how_many_images_are_stronger_is_read_off_the_histogram(atlas: Atlas, prober: Prober) -> None:
    number = next(iter(atlas.images))
    for channel in (0, 1):
        found = prober.probe(f"atlas-{number}", "1", channel, None, silent)
        counts = atlas["1"][channel].histogram
        own = sum(found.value > edge for edge in HISTOGRAM_EDGES.astype(np.float32))
        assert found.stronger == pytest.approx(counts[own + 1 :].sum() / counts.sum())
    assert 0 <= found.stronger < 1


def test_covering_is_the_occlusion_study(atlas: Atlas, net: Network, prober: Prober) -> None:
    image = first_of(atlas, prober)
    place = (found := prober.probe(image, "3", 1, None, silent)).row, found.col
    seen: list[tuple[str, int, int]] = []
    own = prober.occlude(image, "3", 1, place, lambda *step: seen.append(step))  # type: ignore[arg-type]
    config = occlusion.OcclusionConfig(1, 1, channel=1, row=place[0], col=place[1])
    study = occlusion.run(net, prober.shelf.get(image).input, "3", config)
    falls = 1 - study.unit_values / study.watched.unit_value
    assert own.size == 1
    assert own.largest == pytest.approx(falls.max())
    row, col = np.unravel_index(falls.argmax(), falls.shape)
    assert own.box == (row, col, 1, 1)
    assert seen[-1] == ("occlusion", 144, 144)


def test_colour_is_left_where_covering_takes_most_and_none_where_it_takes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    shown = _lit(picture, np.array([[0.0, 0.2, 0.4], [0, 0, 0]]))
    assert np.array_equal(shown[0, 2], picture[0, 2])
    assert not np.ptp(shown[1], axis=1).any()
    assert np.abs(shown[0, 1] - (picture[0, 1] * 0.5 + (64 + 0.15 * (picture[0, 1].mean() - 128)))).max() <= 1
    assert not np.ptp(_lit(picture, np.zeros((2, 3))), axis=2).any()


def test_covering_a_silent_unit_is_refused(atlas: Atlas, net: Network, prober: Prober) -> None:
    image = first_of(atlas, prober)
    maps = maps_of(net, prober, image, "1")
    channel, row, col = (int(i[0]) for i in np.nonzero(maps == 0))
    with pytest.raises(BadInputError, match="is not active here"):
        prober.occlude(image, "1", channel, (row, col), silent)


def test_a_layer_is_inverted_and_stopping_keeps_the_best(atlas: Atlas, prober: Prober) -> None:
    def report(phase: str, done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    found = prober.invert(first_of(atlas, prober), "1", report)
    assert drawn(found.picture).size == (12, 12)
    assert found.stopped == "interrupted"
    assert found.steps <= 4
    assert 0 < found.error < 2


@pytest.mark.parametrize(
    ("channel", "place", "words"),
    [(9, None, "channel 9"), (-1, None, "channel -1"), (0, (99, 0), "row 99"), (9, (0, 0), "channel 9")],
)
def test_a_unit_that_is_not_there_is_said(
    atlas: Atlas, prober: Prober, channel: int, place: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        prober.probe(first_of(atlas, prober), "1", channel, place, silent)


def test_a_layer_that_is_not_there_is_said(atlas: Atlas, prober: Prober) -> None:
    with pytest.raises(UnknownLayerError, match="gone"):
        prober.look(first_of(atlas, prober), "gone", silent)


def test_activations_that_are_not_finite_are_said(atlas: Atlas, prober: Prober) -> None:
    image = first_of(atlas, prober)
    prober.shelf.get(image).input.fill_(torch.inf)
    with pytest.raises(ActivationError, match="not finite"):
        prober.look(image, "1", silent)


def test_another_network_or_other_images_are_refused(atlas: Atlas, net: Network, pictures: Path) -> None:
    torch.manual_seed(1)
    other = backlight.capture(nn.Sequential(nn.Conv2d(3, 2, 3)), (3, 12, 12), atlas.preprocessing)
    with pytest.raises(BadInputError, match="another model or other weights"):
        Prober(Views(atlas), other, None, Lock())
    (pictures / "a" / "000.png").unlink()
    with pytest.raises(BadInputError, match="over other images"):
        Prober(Views(atlas), net, open_images(pictures), Lock())
