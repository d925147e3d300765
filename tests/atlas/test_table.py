"""The hits as a table: row for row what the atlas says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import stop_build_in
from backlight import open_atlas
from backlight.atlas import Atlas, hit_table
from backlight.errors import AtlasError
from backlight.geometry import Box
from conftest import make_pictures


def test_every_hit_is_a_row_in_the_order_of_the_atlas(atlas: Atlas) -> None:
    rows = list(hit_table(atlas))
    hits = [(y.name, c, hit, y[c]) for y in atlas.layers for c in y.channels for hit in y[c].hits]
    assert len(rows) == len(hits) == 80
    for row, (layer, channel, hit, own) in zip(rows, hits, strict=True):
        assert (row.layer, row.channel, row.rank, row.value) == (layer, channel, hit.rank, hit.value)
        assert (row.image_id, row.row, row.col) == (hit.image_id, hit.row, hit.col)
        assert (row.image, row.label) == (hit.image.path, hit.label)
        assert Box(row.top, row.left, row.bottom, row.right) == hit.box
        assert row.n_certain == own.n_certain
        assert (row.map_mean, row.map_max, row.map_active_share) == (own.mean, own.max, own.active_share)
    assert {row.row for row in rows if row.layer == "fc"} == {None}
    assert {row.label for row in rows} == {"a", "b"}


@pytest.mark.usefixtures("untyped")
def test_a_table_needs_a_finished_scan_and_no_more(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "p", 20)
    stop_build_in(tmp_path / "project.atlas", pictures, "project")
    assert len(list(hit_table(open_atlas(tmp_path / "project.atlas")))) == 16
    stop_build_in(tmp_path / "scan.atlas", pictures, "scan")
    with pytest.raises(AtlasError, match="the scan of this atlas is not finished"):
        next(hit_table(open_atlas(tmp_path / "scan.atlas")))
