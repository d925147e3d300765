"""What studies are given is checked before any work."""

import re

import numpy as np
import pytest
from PIL import Image

import backlight
from backlight.atlas.schema import writing
from backlight.errors import BadInputError
from backlight.images import SequenceSource
from backlight.studies.checks import check_at_least, check_belongs, check_finished, check_network
from fuzz.tiny import make_tiny_atlas
from studies.planted import MEAN, SIZE, Detector, plant


def test_numbers_have_a_least_value_and_a_default_passes():
    check_at_least(1, maps=None, hits=1)
    with pytest.raises(BadInputError, match=re.escape("hits must be at least 2, got 1")):
        check_at_least(2, maps=5, hits=1)


def test_an_atlas_belongs_to_its_network_and_its_images(planted):
    atlas, net, source = planted
    check_belongs(atlas, net, source)
    pattern, others = plant(12, np.random.default_rng(9))
    with pytest.raises(BadInputError, match=r"a\.atlas was built over other images than 'memory'; use those"):
        check_belongs(atlas, net, others)
    another = backlight.capture(Detector(pattern), (3, SIZE, SIZE), MEAN)
    with pytest.raises(
        BadInputError, match=r"a\.atlas was built with another model or other weights; use those"
    ):
        check_network(atlas, another)
    fewer = SequenceSource([Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8))])
    with pytest.raises(BadInputError, match="other images"):
        check_belongs(atlas, net, fewer)


def test_an_unfinished_atlas_is_not_studied(tmp_path):
    path = tmp_path / "tiny.atlas"
    make_tiny_atlas(path)
    check_finished(backlight.open_atlas(path))
    with writing(path) as connection:
        connection.execute("UPDATE meta SET value = '\"project\"' WHERE key = 'phase'")
    with pytest.raises(BadInputError, match=r"tiny\.atlas is not finished"):
        check_finished(backlight.open_atlas(path))
