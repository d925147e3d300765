"""The layers of an atlas."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import make_network
from backlight import build
from backlight.errors import BadInputError


def test_a_map_not_projected_is_refused_in_a_figure(tmp_path: Path, picture_folder: Path) -> None:
    built = build(make_network(), picture_folder, tmp_path / "few.atlas", ["relu2"], maps=[2, 5])
    with pytest.raises(BadInputError, match="channel 3 of layer 'relu2' was not projected, only 2, 5"):
        built.figure("relu2", [3])
