"""Views: pages show what the atlas holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atlas.files import make_earlier
from backlight.atlas import Atlas, open_atlas
from backlight.atlas.schema import writing
from backlight.scan import HISTOGRAM_EDGES
from backlight.web.views import Views
from fuzz.tiny import make_tiny_atlas


def test_a_card_is_that_of_its_map(atlas: Atlas) -> None:
    views = Views(atlas)
    for name in atlas:
        assert list(views.cards(name)) == list(atlas[name].channels)
        for channel, card in views.cards(name).items():
            own = atlas[name][channel]
            assert (card.layer, card.channel, card.max, card.active_share) == (
                name,
                channel,
                own.max,
                own.active_share,
            )
            assert card.is_dead == own.dead
            assert card.selectivity == (own.hits[-1].value / own.mean if own.hits and own.mean > 0 else 0)
            assert (card.projections is None) == (not own.hits)
            assert sum(label.count for label in card.labels) == len(own.hits) == card.n_hits
            assert {label.label for label in card.labels} <= {"a", "b"}
            if own.hits:
                assert card.purity == max(label.count for label in card.labels) / len(own.hits)


def test_a_card_says_which_hits_are_certain_only_where_not_all_are(tmp_path: Path) -> None:
    make_tiny_atlas(tmp_path / "tiny.atlas")
    assert {card.doubt for card in Views(open_atlas(tmp_path / "tiny.atlas")).cards("1").values()} == {""}
    with writing(tmp_path / "tiny.atlas") as connection:
        connection.execute("UPDATE certainty SET n_certain = channel WHERE layer_id = 0")
    cards = Views(open_atlas(tmp_path / "tiny.atlas")).cards("1")
    assert (
        cards[0].doubt
        == "Its strongest hits are too nearly equal to be told apart: rounding may choose others."
    )
    assert cards[1].doubt == "Its first hit is certain; the others are too nearly equal to be told apart."


def test_the_map_that_stands_for_a_layer_has_the_best_evidence_or_is_the_most_selective(atlas: Atlas) -> None:
    views = Views(atlas)
    for name, expected in (("3", 0), ("1", None)):
        example, cards = views.layer(name).example, views.cards(name).values()
        assert example is not None
        if expected is not None:  # only this one has evidence, and it is not the most selective
            assert example.channel == expected
            continue
        assert example.selectivity == max(card.selectivity for card in cards)


def test_evidence_tells_controls_from_rule_sets(atlas: Atlas) -> None:
    views = Views(atlas)
    found = views.cards("3")[0].evidence
    assert found is not None
    assert (found.own, found.is_strong, found.verdict, found.n, found.gain) == (0.5, True, "as good", 2, None)
    assert [(own.name, own.value) for own in found.controls] == [("centre", 0.25)]
    assert found.others == ()
    assert views.cards("3")[1].evidence is None
    assert views.layer("3").evidence is not None
    assert views.layer("1").evidence is None


def test_the_histogram_counts_every_image(atlas: Atlas) -> None:
    views = Views(atlas)
    for name in atlas:
        for channel in atlas[name].channels:
            shown = views.map(name, channel)
            assert sum(bar.count for bar in shown.histogram) + shown.n_inactive == atlas.n_scanned
            assert shown.n_active == sum(bar.count for bar in shown.histogram)
            for bar in shown.histogram:
                assert bar.low in HISTOGRAM_EDGES
                assert 0 <= bar.height <= 1
            for hit in shown.hits:
                (own,) = [bar for bar in shown.histogram if bar.low < hit.value <= (bar.high or float("inf"))]
                assert own.holds_hits


def test_every_hit_is_a_unit_of_its_image_and_the_other_way_round(atlas: Atlas) -> None:
    views = Views(atlas)
    hits = {
        (name, channel, hit.rank, hit.image_id)
        for name in atlas
        for channel in atlas[name].channels
        for hit in views.map(name, channel).hits
    }
    units = {
        (unit.layer, unit.channel, unit.hit.rank, image_id)
        for image_id in views.units
        for unit in views.image(image_id).units
    }
    assert hits == units
    assert len(hits) > 6


def test_nearest_maps_share_images_most_first(atlas: Atlas) -> None:
    views = Views(atlas)
    for name in atlas:
        for channel in atlas[name].channels:
            images = {hit.image_id for hit in atlas[name][channel].hits}
            found = views.map(name, channel).nearest
            assert [near.shared for near in found] == sorted((near.shared for near in found), reverse=True)
            for near in found:
                assert (
                    near.shared
                    == len(images & {hit.image_id for hit in atlas[name][near.card.channel].hits})
                    > 0
                )


@pytest.mark.parametrize("name", ["1", "3"])
def test_nearest_filters_are_those_at_the_smallest_angle(atlas: Atlas, name: str) -> None:
    """In deeper layers too; the images of hits are one thing, the angle of the filters is another."""
    filters = atlas[name].map_filters
    assert filters is not None
    rows = filters.weights.reshape(len(filters.weights), -1).astype(np.float64)
    views = Views(atlas)
    for at, own in enumerate(filters.channels):
        cosines = rows @ rows[at] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[at])
        expected = {
            c: float(cosines[i]) for i, c in enumerate(filters.channels) if i != at and cosines[i] > 0
        }
        found = [(near.card.channel, near.filters) for near in views.map(name, own).alike]
        wanted = sorted(expected.items(), key=lambda pair: -pair[1])[: len(found)]
        assert found == [(channel, pytest.approx(cosine)) for channel, cosine in wanted]
        assert len(found) == min(len(expected), 8)


def test_an_atlas_of_an_earlier_format_has_nearest_filters_of_the_pixels_alone(tmp_path: Path) -> None:
    make_tiny_atlas(tmp_path / "tiny.atlas")
    make_earlier(tmp_path / "tiny.atlas", 3)
    views = Views(open_atlas(tmp_path / "tiny.atlas"))
    assert views.map("3", 0).alike == ()
    assert all(near.filters is None for near in views.map("3", 0).nearest)
    assert any(near.filters is not None for own in (0, 1) for near in views.map("1", own).nearest)
    views.atlas.close()


def test_neighbours_of_a_map(atlas: Atlas) -> None:
    views = Views(atlas)
    first, last = (views.map("3", channel) for channel in atlas["3"].channels)
    assert first.before is None
    assert first.after == last.card.href
    assert last.before == first.card.href
    assert last.after is None


def test_a_label_that_all_images_have_tells_nothing(tmp_path: Path) -> None:
    make_tiny_atlas(tmp_path / "tiny.atlas")
    with writing(tmp_path / "tiny.atlas") as connection:
        connection.execute("UPDATE image SET label = 'alike'")
    views = Views(open_atlas(tmp_path / "tiny.atlas"))
    assert {image.label for image in views.atlas.images.values()} == {"alike"}
    assert not views.site.has_labels
    for name in views.atlas:
        for channel, card in views.cards(name).items():
            assert (card.labels, card.purity) == ((), 0)
            assert all(hit.label is None for hit in views.map(name, channel).hits)
    views.atlas.close()
