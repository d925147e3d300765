"""Evolving: the pages of feature maps show the steps of a training, those of the maps that were followed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.studies.evolution import EvolutionResult
from backlight.web import evolving, links
from backlight.web.contexts import MapsPage
from backlight.web.evolving import Evolved
from backlight.web.sheets import TILE
from backlight.web.site import Site
from fuzz.tiny import tiny_evolution


@pytest.fixture
def result() -> EvolutionResult:
    return tiny_evolution()


@pytest.fixture
def site(atlas: Atlas, result: EvolutionResult) -> Iterator[Site]:
    return Site(atlas, evolution=result)


def page_of(site: Site, name: str) -> MapsPage:
    from backlight.web import pages

    return pages.maps(site.views, name, 1)


def test_steps_are_those_of_the_evolution(site: Site, result: EvolutionResult) -> None:
    for name in site.views.atlas:
        for own in page_of(site, name).maps:
            column = result.column(name, own.card.channel)
            assert [step.step for step in own.evolution] == ["epoch-2", "epoch-9", "epoch-10"]
            assert [step.short for step in own.evolution] == ["2", "9", "10"]
            assert [step.value for step in own.evolution] == pytest.approx(result.values[:, column].tolist())
            ids = result.image_ids[:, column].tolist()
            assert [step.is_active for step in own.evolution] == [image_id >= 0 for image_id in ids]
            changed = [False, *(one != other for one, other in pairwise(ids))]
            assert [step.is_other for step in own.evolution] == changed
            names = [result.paths.get(str(image_id), "").rpartition("/")[2] for image_id in ids]
            assert [step.file for step in own.evolution] == names


def test_the_step_that_the_atlas_is_of_is_marked(site: Site) -> None:
    (own, _) = page_of(site, "3").maps
    assert [step.is_atlas for step in own.evolution] == [False, False, True]
    # and so its last step is the first hit of the map, where one is active
    for name in site.views.atlas:
        for own in page_of(site, name).maps:
            if own.hits:
                assert own.evolution[-1].value == pytest.approx(own.hits[0].value, rel=1e-5)
                assert own.evolution[-1].file == own.hits[0].file


def test_a_sheet_has_a_row_for_each_map_and_a_tile_for_each_step(site: Site, result: EvolutionResult) -> None:
    page = page_of(site, "1")
    first = page.maps[0].evolution[0].projection
    path, _, version = first.href.partition("?v=")
    assert path == links.sheet("1", 1, links.EVOLUTION)
    assert version == site.views.version
    answer = site.answer(path)
    assert answer is not None
    sheet = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)
    assert sheet.shape[:2] == (first.height, first.width) == (2 * TILE, 3 * TILE)
    seen = set()
    for own in page.maps:
        for step in own.evolution:
            tile = step.projection
            seen.add((tile.left, tile.top))
            drawn = sheet[tile.top : tile.top + TILE, tile.left : tile.left + TILE]
            values = result.projection(step.step, "1", own.card.channel)
            # grey is zero: where a projection is empty, the tile is, and only there
            assert (abs(drawn - 128).max() > 20) == bool(np.abs(values).max() > 0)
    assert len(seen) == 6


def test_maps_that_were_not_followed_have_no_steps(atlas: Atlas, result: EvolutionResult) -> None:
    layers = tuple(own for own in result.layers if own.name == "3")
    alone = part(result, "3", layers)
    site = Site(atlas, evolution=alone)
    assert all(own.evolution == () for own in page_of(site, "1").maps)
    assert all(len(own.evolution) == 3 for own in page_of(site, "3").maps)
    assert links.sheet("1", 1, links.EVOLUTION) not in site.paths
    assert all(own.evolution == () for own in page_of(Site(atlas), "3").maps)


def part(result: EvolutionResult, name: str, layers: tuple) -> EvolutionResult:  # type: ignore[type-arg]
    """Return an evolution of one layer alone."""
    at, ends = result.columns(name), result._filter_ends
    tiles, lengths = [], []
    for row in range(len(result.steps)):
        for column in range(at.start, at.stop):
            place = row * result.tile_ends.shape[1] + column
            flat = result.tile_ends.ravel()
            start = int(flat[place - 1]) if place else 0
            tiles.append(result.tiles[start : int(flat[place])])
            lengths.append(len(tiles[-1]))
    before = sum(own.n_maps for own in result.layers[: [own.name for own in result.layers].index(name)])
    return replace(
        result,
        layers=layers,
        image_ids=result.image_ids[:, at],
        values=result.values[:, at],
        places=result.places[:, at],
        scales=result.scales[:, at],
        unlike=result.unlike[:, at],
        tiles=np.concatenate(tiles),
        tile_ends=np.cumsum(lengths).reshape(len(result.steps), -1),
        filters=result.filters[:, ends[at.start] : ends[at.stop]],
        winners=result.winners[:, before : before + layers[0].n_maps],
    )


def test_of_many_steps_evenly_spread_ones_are_shown(
    atlas: Atlas, result: EvolutionResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolving, "MOST_STEPS", 2)
    own = page_of(Site(atlas, evolution=result), "3").maps[0]
    assert [step.step for step in own.evolution] == ["epoch-2", "epoch-10"]


def test_an_evolution_of_another_architecture_is_refused(atlas: Atlas, result: EvolutionResult) -> None:
    wider = tuple(replace(own, n_maps=own.n_maps + 1) for own in result.layers)
    n_winners = result.winners.shape[1] + len(wider)
    other = replace(result, layers=wider, winners=np.zeros((3, n_winners), np.int64))
    with pytest.raises(BadInputError, match="its layer '1' has 3 feature maps, that of the atlas 2"):
        Evolved(other, atlas)
    elsewhere = replace(result, layers=tuple(replace(own, name=f"x{own.name}") for own in result.layers))
    with pytest.raises(BadInputError, match="follows no feature map that the atlas shows"):
        Evolved(elsewhere, atlas)


@pytest.mark.parametrize("tile", [(5000, 3, 3), (0, 0, 3), (3, 3, 2)])
def test_tiles_of_an_impossible_size_are_refused(result: EvolutionResult, tile: tuple[int, int, int]) -> None:
    layers = (replace(result.layers[0], tile=tile), *result.layers[1:])
    with pytest.raises(BadInputError, match=r"do not fit each other \(tile\)"):
        replace(result, layers=layers)


def test_numbers_that_are_not_finite_are_refused(result: EvolutionResult) -> None:
    values = result.values.copy()
    values[0, 0] = np.nan
    with pytest.raises(BadInputError, match=r"do not fit each other \(values\)"):
        replace(result, values=values)


def test_pictures_of_another_evolution_have_other_addresses(atlas: Atlas, result: EvolutionResult) -> None:
    versions = {
        Site(atlas).views.version,
        Site(atlas, evolution=result).views.version,
        Site(atlas, evolution=replace(result, weights=("a", "b", "c"))).views.version,
    }
    assert len(versions) == 3
