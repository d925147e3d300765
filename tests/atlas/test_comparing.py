"""Comparing: the numbers are those that one counts by hand, both ways round, and what cannot be compared is said."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from atlas.files import make_earlier
from backlight.atlas import Evidence, keep_evidence
from backlight.atlas.comparing import MapChange
from backlight.atlas.schema import writing
from backlight.errors import AtlasError, BadInputError, UnknownLayerError
from conftest import make_pictures
from fuzz.tiny import make_tiny_atlas

OWN = "layer_id = 0 AND channel = {}"


def changed(path: Path, *statements: str, **values: object) -> backlight.Atlas:
    """Return the tiny atlas with some of its rows changed."""
    make_tiny_atlas(path)
    with writing(path) as connection:
        for statement in statements:
            connection.execute(statement, {key: own for key, own in values.items() if f":{key}" in statement})
    return backlight.open_atlas(path)


def hits(channel: int, *images: int) -> tuple[str, ...]:
    """Return what gives a map of the first layer hits in these images, strongest first."""
    return tuple(
        f"UPDATE hit SET image_id = {own} WHERE {OWN.format(channel)} AND rank = {rank}"
        for rank, own in enumerate(images)
    )


def peak(channel: int, value: float) -> str:
    return f"UPDATE feature_map SET max = {value} WHERE {OWN.format(channel)}"


def dead(channel: int) -> tuple[str, ...]:
    return (
        f"DELETE FROM hit WHERE {OWN.format(channel)}",
        f"UPDATE feature_map SET max = 0, n_active = 0 WHERE {OWN.format(channel)}",
    )


def by_channel(a: backlight.Atlas, b: backlight.Atlas) -> dict[int, MapChange]:
    return {own.channel: own for own in backlight.compare(a, b, "1").maps}


def test_images_that_are_hits_of_both_are_counted_whatever_their_rank(tmp_path: Path) -> None:
    a = changed(tmp_path / "a.atlas", *hits(0, 0, 1), *hits(1, 2, 3), peak(0, 2.0), peak(1, 3.0))
    b = changed(tmp_path / "b.atlas", *hits(0, 4, 0), *hits(1, 3, 2), peak(0, 5.0), peak(1, 3.0))
    found = by_channel(a, b)
    assert (found[0].n_shared, found[0].n_hits, found[0].shared, found[0].changed) == (1, 2, 0.5, 0.5)
    assert (found[1].n_shared, found[1].n_hits, found[1].shared, found[1].changed) == (2, 2, 1.0, 0.0)
    assert (found[0].strength, found[1].strength) == (2.5, 1.0)
    (layer,) = backlight.compare(a, b, "1").layers
    assert (layer.name, layer.changed, layer.n_died, layer.n_revived) == ("1", 0.25, 0, 0)
    assert [own.channel for own in layer.maps] == [0, 1]
    assert repr(backlight.compare(a, b, "1")) == "Comparison('a.atlas', 'b.atlas': 1 layer, 2 maps)"


def test_the_smaller_number_of_hits_is_what_they_are_shares_of(tmp_path: Path) -> None:
    fewer = f"DELETE FROM hit WHERE {OWN.format(0)} AND rank = 1"
    a = changed(tmp_path / "a.atlas", *hits(0, 3, 1))
    for image, share in ((1, 0.0), (2, 1.0)):
        b = changed(tmp_path / f"{image}.atlas", *hits(0, image), fewer)
        assert (by_channel(a, b)[0].n_hits, by_channel(a, b)[0].changed) == (1, share)


def test_a_map_that_is_dead_in_one_has_changed_and_in_both_has_not(tmp_path: Path) -> None:
    alive = backlight.open_atlas(_tiny(tmp_path / "alive.atlas"))
    one = changed(tmp_path / "one.atlas", *dead(0))
    died, revived, neither = by_channel(alive, one)[0], by_channel(one, alive)[0], by_channel(one, one)[0]
    assert (died.changed, died.dead, died.died, died.revived) == (1.0, (False, True), True, False)
    assert (revived.changed, revived.dead, revived.died, revived.revived) == (1.0, (True, False), False, True)
    assert (neither.changed, neither.dead, neither.died, neither.revived) == (
        0.0,
        (True, True),
        False,
        False,
    )
    assert died.strength is revived.strength is neither.strength is None
    (layer,) = backlight.compare(alive, one, "1").layers
    assert (layer.n_died, layer.n_revived, layer.changed) == (1, 0, 0.5)


def _tiny(path: Path) -> Path:
    make_tiny_atlas(path)
    return path


def npy(*filters: float | tuple[float, float]) -> bytes:
    """Return filters (2, 3, 3, 3), as an atlas keeps them, by their first two values; all others are zero."""
    values = np.zeros((2, 27), np.float32)
    values[:, :2] = filters
    out = io.BytesIO()
    np.save(out, values.reshape(2, 3, 3, 3))
    return out.getvalue()


@pytest.mark.parametrize(
    ("ours", "theirs", "distance"),
    [
        ((1, 0), (1, 0), 0.0),
        ((1, 0), (3, 0), 0.0),
        ((1, 0), (0, 1), 1.0),
        ((1, 0), (-2, 0), 2.0),
        ((3, 4), (4, 3), 0.04),  # 1 - 24 / 25
        ((1, 0), (0, 0), 1.0),
        ((0, 0), (0, 0), 0.0),
        ((math.inf, 0), (1, 0), None),
    ],
)
def test_the_distance_of_filters_is_that_of_their_directions(
    tmp_path: Path, ours: tuple[float, float], theirs: tuple[float, float], distance: float | None
) -> None:
    put = "UPDATE map_filters SET weights = :data WHERE layer_id = 0"
    a = changed(tmp_path / "a.atlas", put, data=npy(ours, (1, 0)))
    b = changed(tmp_path / "b.atlas", put, data=npy(theirs, (1, 0)))
    for found in (by_channel(a, b), by_channel(b, a)):
        assert found[0].filters == (None if distance is None else pytest.approx(distance, abs=1e-12))
        assert found[1].filters == 0
    mean = backlight.compare(a, b, "1").layers[0].filters
    assert mean == (0 if distance is None else pytest.approx(distance / 2, abs=1e-12))


def test_filters_of_deeper_layers_are_compared_too(tmp_path: Path) -> None:
    """Two networks of which one filter of the second convolution differs, and all of the fully connected layer do."""
    _tiny(tmp_path / "a.atlas"), _tiny(tmp_path / "b.atlas")
    a = backlight.open_atlas(tmp_path / "a.atlas")
    filters = a["3"].map_filters
    assert filters is not None
    turned = filters.weights.copy()
    turned[1] *= -2
    buffer = io.BytesIO()
    np.save(buffer, turned)
    put = "UPDATE map_filters SET weights = :data WHERE layer_id = 1"
    b = changed(tmp_path / "c.atlas", put, data=buffer.getvalue())
    found = {(own.layer, own.channel): own.filters for own in backlight.compare(a, b).maps}
    assert found.pop(("3", 1)) == pytest.approx(2)
    assert set(found.values()) == {0}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_atlases_of_earlier_formats_have_filters_of_the_pixels_alone(tmp_path: Path, version: int) -> None:
    path = _tiny(tmp_path / "a.atlas")
    kept = backlight.open_atlas(path)["1"].map_filters
    make_earlier(path, version)
    atlas = backlight.open_atlas(path)
    found = atlas["1"].map_filters
    assert kept is not None
    assert found is not None
    assert (found.channels, found.groups) == (kept.channels, kept.groups)
    np.testing.assert_array_equal(found.weights, kept.weights)
    assert atlas["3"].map_filters is None
    assert all((own.filters is None) == (own.layer != "1") for own in backlight.compare(atlas, atlas).maps)


def test_the_gain_of_evidence_changes_where_both_were_studied(tmp_path: Path) -> None:
    def studied(name: str, own: float | None, turned: float | None) -> backlight.Atlas:
        path = _tiny(tmp_path / name)
        found = Evidence({"deconvnet": own, "turned": turned}, "as good", False, "deconvnet", 2)
        keep_evidence(path, "1", found, {0: found})
        return backlight.open_atlas(path)

    a, b = studied("a.atlas", 0.5, 0.25), studied("b.atlas", 0.25, 0.125)
    assert by_channel(a, b)[0].evidence == 0.125 - 0.25
    assert by_channel(a, b)[1].evidence is None
    for without in (studied("c.atlas", None, 0.25), studied("d.atlas", 0.5, None)):
        assert by_channel(a, without)[0].evidence is None


def test_the_other_way_round_the_numbers_are_mirrored(tmp_path: Path) -> None:
    a = changed(tmp_path / "a.atlas", *hits(0, 0, 1), peak(0, 2.0), *dead(1))
    make_tiny_atlas(tmp_path / "b.atlas", 1)
    b = backlight.open_atlas(tmp_path / "b.atlas")
    there, back = backlight.compare(a, b), backlight.compare(b, a)
    mirrored = {
        (own.layer, own.channel): replace(
            own, strength=None if own.strength is None else 1 / own.strength, dead=own.dead[::-1]
        )
        for own in back.maps
    }
    assert len(there.maps) == len(mirrored) == 6
    for own in there.maps:
        found = mirrored[own.layer, own.channel]
        assert own.strength == (None if found.strength is None else pytest.approx(found.strength))
        assert replace(own, strength=None) == replace(found, strength=None)
    assert there.pairing.names == back.pairing.names[::-1]


def test_an_atlas_has_not_changed_from_itself(tmp_path: Path) -> None:
    path = _tiny(tmp_path / "a.atlas")
    atlas, again = backlight.open_atlas(path), backlight.open_atlas(path)
    found = backlight.compare(atlas, again)
    assert [layer.name for layer in found.layers] == list(atlas)
    for own in found.maps:
        assert (own.changed, own.filters, own.strength) == (0, 0, 1)
    pairing = found.pairing
    assert (pairing.names, pairing.left_out, pairing.differences) == (("a.atlas", "a.atlas"), (), ())
    assert (pairing.top, pairing.by_chance) == (2, 2 / 5)
    make_tiny_atlas(tmp_path / "b.atlas", 1)
    other = backlight.open_atlas(tmp_path / "b.atlas")
    assert backlight.compare(atlas, other).pairing.differences == ("model or weights",)


def test_maps_are_sorted_by_change_then_filters_then_layer_then_channel(tmp_path: Path) -> None:
    put = "UPDATE map_filters SET weights = :data WHERE layer_id = 0"
    a = changed(tmp_path / "a.atlas", put, *hits(0, 0, 1), *hits(1, 0, 1), data=npy((1, 0), (1, 0)))
    b = changed(tmp_path / "b.atlas", put, *hits(0, 0, 2), *hits(1, 0, 3), data=npy((1, 0), (0, 1)))
    found = backlight.compare(a, b).maps
    assert [(own.layer, own.channel, own.changed) for own in found] == [
        ("1", 1, 0.5), ("1", 0, 0.5), ("3", 0, 0), ("3", 1, 0), ("5", 0, 0), ("5", 1, 0),
    ]  # fmt: skip


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        make_tiny_atlas(tmp_path / name / "net.atlas", int(name))
    atlases = [backlight.open_atlas(tmp_path / name / "net.atlas") for name in ("1", "2")]
    assert backlight.compare(*atlases).pairing.names == ("1/net.atlas", "2/net.atlas")


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Atlases of networks that differ in what is asked for: layers, maps, hits, widths and images."""
    folder = tmp_path_factory.mktemp("variants")
    few = make_pictures(folder / "few", 4, (12, 12))
    more = make_pictures(folder / "more", 6, (12, 12))
    found = {}
    for name, images, layers, asked, width in (
        ("base", few, ["1", "3"], {"top": 3}, 3),
        ("fewer", few, ["1"], {"top": 2, "maps": [1]}, 3),
        ("other", few, ["3"], {"maps": [0]}, 3),
        ("wide", few, ["1", "3"], {}, 4),
        ("apart", few, ["1", "3"], {"maps": [0]}, 3),
        ("last", few, ["1", "3"], {"maps": [1]}, 3),
        ("more", more, ["1", "3"], {}, 3),
    ):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, width, 3, stride=2), nn.ReLU()
        )
        net = backlight.capture(
            model, (3, 12, 12), backlight.Preprocessing(None, (12, 12), (0.5,) * 3, (0.5,) * 3)
        )
        found[name] = folder / f"{name}.atlas"
        backlight.build(net, images, found[name], layers, batch_size=4, compile="off", **asked).close()
    return found


def opened(variants: dict[str, Path], *names: str) -> list[backlight.Atlas]:
    return [backlight.open_atlas(variants[name]) for name in names]


def test_layers_and_maps_that_are_left_out_are_named(variants: dict[str, Path]) -> None:
    base, fewer, wide = opened(variants, "base", "fewer", "wide")
    found = backlight.compare(base, fewer)
    assert [(own.name, own.only_a, own.only_b) for own in found.layers] == [("1", (0,), ())]
    assert [own.channel for own in found.maps] == [1]
    assert found.pairing.left_out == (("3", "only in base.atlas"),)
    assert found.pairing.top == 2  # of three and two
    assert found.maps[0].n_hits <= 2
    assert found.pairing.differences == ("choice of layers, maps or top",)
    back = backlight.compare(fewer, base)
    assert [(own.name, own.only_a, own.only_b) for own in back.layers] == [("1", (), (0,))]
    assert back.pairing.left_out == (("3", "only in base.atlas"),)
    found = backlight.compare(base, wide)
    assert found.pairing.left_out == (("3", "3 maps in base.atlas, 4 in wide.atlas"),)
    assert [own.name for own in found.layers] == ["1"]


def test_what_cannot_be_compared_is_refused_with_what_to_do(variants: dict[str, Path]) -> None:
    base, fewer, other, wide, apart, last, more = opened(
        variants, "base", "fewer", "other", "wide", "apart", "last", "more"
    )
    with pytest.raises(
        BadInputError,
        match=r"^'base.atlas' and 'more.atlas' are of different images \('.*few', '.*more'\), so their hits cannot be "
        "compared; build one over the images of the other$",
    ):
        backlight.compare(base, more)
    with pytest.raises(
        BadInputError,
        match=r"^'fewer.atlas' and 'other.atlas' have no layer to compare \(1: only in fewer.atlas; 3: only in "
        r"other.atlas\); choose two atlases of one architecture$",
    ):
        backlight.compare(fewer, other)
    with pytest.raises(BadInputError, match=r"\(1: no map was projected in both; 3: no map was projected in"):
        backlight.compare(apart, last)
    with pytest.raises(
        BadInputError, match=r"^layer '3' cannot be compared: 3 maps in base.atlas, 4 in wide"
    ):
        backlight.compare(base, wide, "3")
    with pytest.raises(UnknownLayerError, match=r"^base\.atlas has no layer 'conv'; it has 1, 3"):
        backlight.compare(base, wide, ["1", "conv"])


@pytest.mark.usefixtures("untyped")
def test_an_atlas_that_is_still_scanned_is_refused(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 4, (12, 12))
    net = backlight.capture(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()),
        (3, 12, 12),
        backlight.Preprocessing(None, (12, 12), (0.5,) * 3, (0.5,) * 3),
    )
    backlight.build(net, pictures, tmp_path / "a.atlas", "1", compile="off").close()

    def stop(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backlight.build(net, pictures, tmp_path / "b.atlas", "1", compile="off", batch_size=1, progress=stop)
    a, b = (backlight.open_atlas(tmp_path / name) for name in ("a.atlas", "b.atlas"))
    with pytest.raises(AtlasError, match="the scan of this atlas is not finished"):
        backlight.compare(a, b)
