"""Whether what was typed is an atlas: by its first bytes, or by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.cli.atlas_files import is_atlas
from fuzz.tiny import make_tiny_atlas


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("here", True), ("gone.atlas", True), ("text.atlas", True), ("text", False), ("folder", False),
        ("torchvision:resnet50", False), ("a\0b", False), ("demo", False),
    ],
)  # fmt: skip
def test_an_atlas_is_known_by_its_bytes_or_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("here"))
    Path("text.atlas").write_text("no atlas")
    Path("text").write_text("SQLite it is not")
    Path("folder").mkdir()
    assert is_atlas(source) == found
