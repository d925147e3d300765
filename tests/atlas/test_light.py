"""Reading an atlas and drawing its figures takes neither PyTorch nor anything else that is slow to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fuzz.tiny import make_tiny_atlas

_READ = """
import sys
from backlight.atlas import Evidence, FeatureMap, Hit, compare, keep_origin, open_atlas, rules_by_evidence, verify

atlas = open_atlas(sys.argv[1])
for layer in atlas.layers:
    assert layer._repr_html_()
    for channel in layer:
        own = layer[channel]
        assert own._repr_html_() and (own._repr_png_() or not own.is_projected)
        assert all(hit.projection_values.any() and hit.image.path for hit in own.hits)
atlas.figure("3"), atlas.superposed("3"), atlas.filters_figure("1"), atlas._repr_html_(), atlas["3"].rules
assert verify(sys.argv[1]).is_sound
assert compare(atlas, atlas).maps
slow = {"torch", "torchvision", "matplotlib", "scipy", "pandas", "typer"}
print(*sorted(slow & set(sys.modules)))
"""


def test_reading_an_atlas_and_drawing_its_figures_imports_nothing_slow(tmp_path: Path) -> None:
    make_tiny_atlas(tmp_path / "a.atlas")
    command = [sys.executable, "-c", _READ, str(tmp_path / "a.atlas")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == ""
