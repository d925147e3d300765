"""Hits under study: their inputs, and how large their projections are at each pixel."""

import numpy as np
import torch

import backlight
from backlight.operators.ruleset import DECONVNET
from backlight.studies.projected import HitProjector, inputs_of_hits, magnitude, smoothed
from backlight.studies.subjects import choose_subjects


def test_magnitudes_are_those_of_whole_projections(planted):
    atlas, net, source = planted
    subjects = [own for maps in choose_subjects(atlas, "relu_1", None, 3, 0) for own in maps]
    images = inputs_of_hits(net, source, subjects)
    units = [own.unit for own in subjects]
    project = HitProjector(net, net.layer("relu_1"))
    found = project(images, units, DECONVNET)
    for i, (subject, image) in enumerate(zip(subjects, images, strict=True)):
        whole = backlight.project(net, image[None], [subject.unit])[0].abs().sum(0).double()
        np.testing.assert_allclose(
            magnitude(found, i, subject.inside), whole[subject.inside.slices()], rtol=1e-5, atol=1e-7
        )


def test_hits_of_one_image_share_their_input(planted):
    atlas, net, source = planted
    subjects = [own for maps in choose_subjects(atlas, "relu_1", None, 9, 0) for own in maps]
    images = inputs_of_hits(net, source, subjects)
    assert len(images) == len(subjects)
    for subject, image in zip(subjects, images, strict=True):
        assert torch.equal(image, net.prepare([source.load(subject.image_id)])[0])
    one, other = (
        next(i for i, s in enumerate(subjects) if s.image_id == subjects[0].image_id) for _ in range(2)
    )
    assert images[one] is images[other]


def test_a_box_filter_is_a_mean_of_surroundings():
    values = np.random.default_rng(0).random((70, 100))
    found = smoothed(values)  # 5 pixels wide: 1, and 2 more for each 32 of the shorter side
    padded = np.pad(values, 2)
    wanted = np.mean([padded[i : i + 70, j : j + 100] for i in range(5) for j in range(5)], axis=0)
    np.testing.assert_allclose(found, wanted)
    small = values[:31, :31]
    np.testing.assert_array_equal(smoothed(small), small)
