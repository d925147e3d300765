"""The plugin for Datasette, which need not be installed, and the query that its README shows."""

from __future__ import annotations

import importlib.util
import io
import re
import sqlite3
import sys
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from markupsafe import Markup
from PIL import Image

from fuzz.tiny import make_tiny_atlas

FOLDER = Path(__file__).parents[1] / "examples" / "datasette_tiles"
_IMAGE = re.compile(r'<img src="data:image/webp;base64,([A-Za-z0-9+/]+=*)" alt="picture of (\d+) bytes">')


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin, loaded from its file as Datasette does."""
    datasette = ModuleType("datasette")
    datasette.hookimpl = lambda call: call  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasette", datasette)
    spec = importlib.util.spec_from_file_location("tiles", FOLDER / "tiles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def webp(side: int = 3) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(out, "WEBP", lossless=True)
    return out.getvalue()


def test_bytes_of_a_webp_become_an_image(plugin: ModuleType) -> None:
    picture = webp()
    shown = plugin.render_cell(picture)
    assert isinstance(shown, Markup)  # else Datasette would escape it
    match = _IMAGE.fullmatch(shown)
    assert match is not None
    assert b64decode(match[1]) == picture
    assert int(match[2]) == len(picture)


@pytest.mark.parametrize(
    "value",
    [None, 7, 0.5, "RIFF1234WEBP", b"", b"RIFF", b"RIFF1234WAVEfmt ", b"\x89PNG\r\n\x1a\n", b"x" + webp(), "<b>a</b>"],
)  # fmt: skip
def test_everything_else_is_left_to_datasette(plugin: ModuleType, value: object) -> None:
    assert plugin.render_cell(value) is None


def test_a_large_picture_is_left_to_datasette(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = webp(20)
    monkeypatch.setattr(plugin, "LARGEST_BYTES", len(picture))
    assert plugin.render_cell(picture) is not None
    monkeypatch.setattr(plugin, "LARGEST_BYTES", len(picture) - 1)
    assert plugin.render_cell(picture) is None


def test_the_query_of_the_readme_gives_pictures(plugin: ModuleType, tmp_path: Path) -> None:
    query = re.search(r"```sql\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert query is not None
    asked = re.sub(r"'[\w.]+' AND hits.channel = \d+", "'3' AND hits.channel = 1", query[1])
    assert asked != query[1]
    make_tiny_atlas(tmp_path / "tiny.atlas")
    with closing(sqlite3.connect(tmp_path / "tiny.atlas")) as connection:
        rows = connection.execute(asked).fetchall()
    assert [row[0] for row in rows] == [0, 1]
    for _, value, image, label, patch, projection in rows:
        assert value > 0
        assert image.endswith(".png")
        assert label in ("a", "b")
        for own in (patch, projection):
            assert plugin.render_cell(own) is not None
