"""What a diagnosis measures: statistics against closed forms, arithmetic against counting by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

import backlight
from backlight.geometry import Axis
from backlight.studies.diagnosis.aliasing import folded_shares
from backlight.studies.diagnosis.borders import chances, regions
from backlight.studies.diagnosis.causes import one_cluster_p, two_clusters
from backlight.studies.diagnosis.checkerboard import grid_energy
from backlight.studies.diagnosis.collect import collect, correlations
from backlight.studies.diagnosis.drivers import drivers
from backlight.studies.diagnosis.duplicates import cosines
from backlight.studies.diagnosis.fields import seen_share
from backlight.studies.diagnosis.inputs import Inputs, turned_out
from backlight.studies.diagnosis.rms import rms_of, standing_out
from backlight.studies.diagnosis.silent import images_needed
from backlight.studies.diagnosis.sizes import even_sizes, overhang
from backlight.studies.diagnosis.spectrum import band_shares, image_bands
from backlight.studies.diagnosis.stages import Stages
from backlight.studies.diagnosis.strides import Strides
from backlight.studies.intervals import share_interval
from studies.diagnosed import SIDE, images, sound


def test_a_record_is_what_loops_over_the_maps_give() -> None:
    net, pictures = backlight.capture(sound(), (3, SIDE, SIDE)), images(10)
    layer = net.layer("5")
    record = collect(net, Inputs(net, pictures, 10, 0), [layer])["5"]
    (maps,) = (own.numpy() for own in net.features(["5"])(pictures))
    assert np.allclose(record.maxima, maps.max((2, 3)), atol=1e-5)
    assert np.allclose(record.minima, maps.min((2, 3)), atol=1e-5)
    assert np.allclose(record.mean_map, maps.mean(0), atol=1e-5)
    for image, channel in ((0, 0), (9, 11)):
        row, col = record.places[image, channel]
        assert maps[image, channel, row, col] == maps[image, channel].max()
    expected = np.corrcoef(maps.transpose(1, 0, 2, 3).reshape(12, -1))
    assert np.allclose(record.correlations, expected, atol=1e-4)


def test_the_sample_of_images_is_of_the_seed_and_no_larger_than_asked() -> None:
    net, pictures = backlight.capture(sound(), (3, SIDE, SIDE)), images(10)
    drawn = [Inputs(net, pictures, 4, seed) for seed in (0, 0, 1)]
    assert drawn[0].ids == drawn[1].ids != drawn[2].ids
    assert len(drawn[0].ids) == 4
    assert Inputs(net, pictures, 99, 0).ids == tuple(range(10))
    assert torch.equal(drawn[0].of(drawn[0].ids), pictures[list(drawn[0].ids)])
    assert torch.equal(drawn[0].first(2), pictures[list(drawn[0].ids[:2])])


def test_what_lies_at_the_border_is_turned_into_the_middle() -> None:
    marked = torch.zeros(4, 1, 8, 8)
    marked[:, :, 0], marked[:, :, -1], marked[:, :, :, 0], marked[:, :, :, -1] = 1, 1, 1, 1
    for turned in turned_out(marked):
        assert turned[0, 3:5].all()
        assert turned[0, :, 3:5].all()
        assert turned.sum() == 2 * 8 + 2 * 8 - 4  # a cross of two lines each way
    assert torch.equal(turned_out(torch.zeros(1, 2, 5, 7)), torch.zeros(1, 2, 5, 7))


def test_the_share_of_none_of_n_is_the_rule_of_three() -> None:
    for n in (10, 59, 300):
        assert share_interval(0, n)[1] == pytest.approx(1 - 0.05 ** (1 / n))
        assert share_interval(n, n)[0] == pytest.approx(0.05 ** (1 / n))
    assert images_needed(0.05) == 59
    assert share_interval(0, 59)[1] < 0.05 < share_interval(0, 58)[1]
    # Clopper and Pearson: each end is where the other tail of the binomial distribution is 2.5 %
    low, high = share_interval(3, 20)
    assert stats.binom.sf(2, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 20, high) == pytest.approx(0.025)


def test_correlations_and_cosines_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 50)) + 3
    x[3] = 2
    found = correlations(50, x.sum(1), x @ x.T)
    assert np.allclose(found[:3, :3], np.corrcoef(x[:3]))
    assert np.isnan(found[3]).all()  # a constant goes with nothing
    weight = torch.from_numpy(rng.normal(size=(3, 2, 3, 3)))
    flat = weight.flatten(1).numpy()
    assert cosines(weight)[0, 1] == pytest.approx(
        flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    )


def test_a_folded_filter_is_what_the_layer_computes() -> None:
    model = sound()
    net = backlight.capture(model, (3, SIDE, SIDE))
    stages = Stages(net, [net.layer("1"), net.layer("5")])
    second, pictures = stages.by_layer["5"], images(3)
    assert (second.is_normalised, second.is_first) == (True, False)
    assert (stages.by_layer["1"].is_normalised, stages.by_layer["1"].is_first) == (False, True)
    below = stages.below(pictures)["5"]
    with torch.no_grad():
        expected = model(pictures)
    assert torch.allclose(functional.relu(second.respond(below)), expected, atol=1e-5)


def test_rms_and_how_far_it_stands_out() -> None:
    weight = torch.ones(4, 2, 3, 3) * torch.tensor([1.0, 2.0, 4.0, 0.0])[:, None, None, None]
    assert rms_of(weight).tolist() == [1, 2, 4, 0]
    z, ratio = standing_out(np.array([1.0, 1, 1, 1, np.e]))
    assert ratio[4] == pytest.approx(np.e)
    assert z[4] == pytest.approx(1 / 0.1)  # of filters of one RMS the least spread counts


def test_white_noise_is_folded_by_one_less_the_square_of_the_stride() -> None:
    noise = torch.randn(4, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    for step in (2, 4):
        as_is, low_passed = folded_shares(noise, (step, step))
        assert as_is.mean().item() == pytest.approx(1 - 1 / step**2, abs=0.04)
        assert (low_passed < as_is).all()


def test_a_wave_is_folded_from_half_the_strides_frequency_on() -> None:
    def wave(period: float) -> torch.Tensor:
        return torch.cos(2 * torch.pi * torch.arange(64) / period).expand(1, 1, 64, 64).clone()

    assert folded_shares(wave(16), (4, 4))[0].item() < 0.02
    assert folded_shares(wave(4), (4, 4))[0].item() > 0.98
    assert folded_shares(wave(4), (1, 2))[0].item() < 0.6
    assert folded_shares(wave(3), (1, 2))[0].item() > 0.98


def test_the_strides_of_a_network_and_their_maps_without_them() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.ReLU()
    ).eval()
    net, pictures = backlight.capture(model, (3, SIDE, SIDE)), images(2)
    strides = Strides(net, [net.layer("1"), net.layer("4")])
    assert [(own.layer.name, own.operator, own.step) for own in strides.found] == [
        ("1", "conv2d", (2, 2)),
        ("4", "max_pool2d", (2, 2)),
    ]
    assert [len(strides.below(net.layer(name))) for name in ("1", "4")] == [1, 2]
    convolved, pooled = strides.dense(pictures)
    with torch.no_grad():
        assert torch.allclose(convolved[:, :, ::2, ::2], model[0](pictures), atol=1e-6)
        assert torch.allclose(pooled[:, :, ::2, ::2], model[:3](pictures), atol=1e-6)


def test_bands_hold_what_has_their_frequency() -> None:
    at = torch.arange(8.0)

    def stripes(period: float) -> torch.Tensor:
        return torch.cos(2 * torch.pi * at / period).expand(1, 1, 8, 8)

    for band, period in enumerate((8.0, 4.0, 2.0)):
        shares = band_shares(stripes(period))
        assert shares.argmax() == band
        assert shares.sum() == pytest.approx(1)
        assert image_bands(stripes(period).repeat(1, 1, 4, 4)).argmax() == band
    assert len(band_shares(torch.zeros(2, 1, 3, 3))) == 0


def test_a_grid_has_energy_at_its_period_and_noise_has_none() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(48, 48, 3)).astype(np.float32)
    grid = noise + 4 * (np.arange(48) % 4 == 0)[:, None, None].astype(np.float32)
    assert np.mean([grid_energy(rng.normal(size=(48, 48, 3)), 4) for _ in range(20)]) < 1.5
    assert grid_energy(grid, 4) > 20
    assert grid_energy(grid, 3) < 3
    assert grid_energy(np.zeros((48, 48, 3), np.float32), 4) == 1


def test_regions_and_their_chances_are_counted() -> None:
    height, width = 5, 7
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(1, -1, 2)
    counted = [own.mean() for own in regions(places, height, width)]
    assert np.allclose(counted, chances(height, width))


def test_overhangs_and_even_sizes() -> None:
    assert overhang(Axis(3, Fraction(2), -1), 16, 32) == (1, 0)
    assert overhang(Axis(3, Fraction(1), -1), 32, 32) == (1, 1)
    assert overhang(Axis(2, Fraction(2), 0), 16, 33) == (0, -1)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
    net = backlight.capture(body, (3, 32, 32))
    assert even_sizes(net, net.layer("3")) == (29, 33)
    for size in (29, 33):
        other = backlight.capture(body, (3, size, size))
        layer = other.layer("3")
        assert len(set(overhang(layer.receptive_field.rows, layer.shape[1], size))) == 1  # type: ignore[union-attr]
    aside = nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(3, 4, 3), nn.ReLU())
    net = backlight.capture(aside, (3, 16, 16))
    assert even_sizes(net, net.layer("2")) == ()


def test_the_share_of_an_image_that_units_see() -> None:
    net = backlight.capture(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), (3, 4, 4))
    # rows 0 and 3 see two of four rows, 1 and 2 see three: 10 / 16 along each axis
    assert seen_share(net.layer("1"), (4, 4)) == pytest.approx((10 / 16) ** 2)


def test_two_clusters_are_told_from_one() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(size=(60, 5))
    two = one + 12 * (np.arange(60) % 3 == 0)[:, None] * np.eye(5)[0]
    split = two_clusters(two)
    second = np.arange(60) % 3 == 0
    assert (split.second == second).all() or (split.second != second).all()
    # what the means explain, written out
    centred = two - two.mean(0)
    within = sum(((two[own] - two[own].mean(0)) ** 2).sum() for own in (second, ~second))
    assert split.explained == pytest.approx(1 - within / (centred**2).sum())
    assert one_cluster_p(two, split.explained, 0) < 1e-4
    assert one_cluster_p(one, two_clusters(one).explained, 0) > 0.05
    assert two_clusters(np.ones((5, 3))).explained == 0


def test_of_points_along_a_line_two_clusters_explain_two_over_pi() -> None:
    line = np.random.default_rng(3).normal(size=(20000, 1))
    assert two_clusters(line).explained == pytest.approx(2 / np.pi, abs=0.01)


def test_what_drives_a_hit_is_filter_times_what_lies_below() -> None:
    net, pictures = backlight.capture(sound(), (3, SIDE, SIDE)), images(6)
    layer = net.layer("5")
    inputs = Inputs(net, pictures, 6, 0)
    records, stages = collect(net, inputs, [layer]), Stages(net, [layer])
    found = drivers(inputs, records, stages, 2)["5"]
    below, stage = stages.below(pictures)["5"], stages.by_layer["5"]
    padded = functional.pad(below, (1, 1, 1, 1))
    for channel in (0, 11):
        strongest = np.sort(np.argsort(-records["5"].maxima[:, channel], kind="stable")[:2])
        for share, image in zip(found[channel], strongest, strict=True):
            row, col = records["5"].places[image, channel]
            patch = padded[image, :, row : row + 3, col : col + 3]
            parts = (patch * stage.weight[channel]).sum((1, 2)).clamp(min=0)
            assert torch.allclose(torch.from_numpy(share), parts / parts.sum(), atol=1e-4)


class TwoStrides(nn.Module):
    """A sum of two paths, which fit each other at some sizes only."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.relu = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 2, 2), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.one(x) + self.other(x))


def test_sizes_that_a_graph_does_not_take_are_passed_over_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    net = backlight.capture(TwoStrides(), (3, 32, 32))
    capfd.readouterr()
    assert even_sizes(net, net.layer("relu")) == ()
    assert capfd.readouterr() == ("", "")
