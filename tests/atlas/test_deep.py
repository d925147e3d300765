"""Pictures of more than 8 bits through a build: what is scanned, projected, shown and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backlight import Preprocessing, build, capture
from backlight.errors import RangeWarning
from backlight.projection import activations
from backlight.studies.shown import inputs_of
from conftest import SmallNet

RANGE = (-1024.0, 3071.0)


def network(value_range: tuple[float, float] | None) -> object:
    torch.manual_seed(0)
    own = Preprocessing(None, (32, 32), (0.2,) * 3, (0.3,) * 3, range=value_range)
    return capture(SmallNet(), (3, 32, 32), own)


def arrays(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(-1024, 3072, (count, 32, 32)).astype(np.int16))


def test_a_build_over_arrays_scans_all_grey_levels_and_shows_their_contrast(tmp_path: Path) -> None:
    net, images = network(RANGE), arrays(4)
    atlas = build(net, images, tmp_path / "a.atlas", ["relu2", "fc"], top=1, maps=[3])
    tensors = torch.from_numpy((np.stack(images) + 1024.0) / 4095).float()[:, None].expand(-1, 3, -1, -1)
    values = activations(net, (tensors - 0.2) / 0.3, net.layer("relu2"))[:, 3].flatten(1).amax(1)
    (hit,) = atlas["relu2"][3].hits
    assert hit.value == pytest.approx(float(values.max()), rel=1e-5)
    (hit,) = atlas["fc"][3].hits  # sees the whole picture
    shown = np.rint((images[hit.image_id] + 1024.0) / 4095 * 255)
    assert np.abs(np.asarray(hit.patch.convert("L"), float) - shown).mean() < 12, (
        "not the contrast of the range"
    )
    assert build(net, images, tmp_path / "a.atlas", ["relu2", "fc"], top=1, maps=[3]).phase == "done"


def test_a_network_takes_an_array_as_a_picture_and_several_as_several() -> None:
    net, (one, other) = network(RANGE), arrays(2)
    assert torch.equal(net.prepare(one), net.preprocessing.tensor(one)[None])
    assert torch.equal(net.prepare([one, other])[1:], net.prepare(other))
    assert torch.equal(net.prepare(np.stack([one, other])[..., None]), net.prepare([one, other]))


def test_studies_draw_the_picture_with_the_contrast_of_the_range() -> None:
    net, (one,) = network((0.0, 1000.0)), arrays(1)
    with pytest.warns(RangeWarning, match="were clipped"):
        inputs, (drawn,) = inputs_of(net, one)
    expected = (one / 1000.0).clip(0, 1)
    torch.testing.assert_close(inputs[0, 0] * 0.3 + 0.2, torch.from_numpy(expected).float())
    assert np.abs(drawn[..., 0] - expected * 255).max() <= 0.51
