"""Faithfulness: planted truth is found, controls are controls, evidence is kept and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backlight
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import SequenceSource
from backlight.projection import Unit
from backlight.studies import faithfulness
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig
from backlight.studies.faithfulness.falls import Falls
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.faithfulness.turned import turned
from backlight.studies.faithfulness.verdicts import advised_rules, judge, judge_maps
from backlight.studies.subjects import Subject, distances
from conftest import SmallNet
from studies.planted import MEAN, SIZE, Detector, Planted, plant


def test_a_planted_pattern_is_what_the_projection_shows(
    planted: Planted,
) -> None:
    atlas, net, source = planted
    result = faithfulness.run(atlas, net, source, config=FaithfulnessConfig(hits=9, shares=(0.1, 0.2)))
    own = result.verdict("relu_1", 0)
    assert own.falls["deconvnet"] > 0.9
    assert max(own.falls[name] for name in ("random", "centre", "turned")) < 0.5
    assert not {"random", "centre", "turned", "other image"} & {*own.equal, *own.better}
    summary = result.summary()["relu_1"]
    assert summary["n_hits"] == len(result.values) == 18
    low, high = summary["intervals"]["deconvnet"]
    assert low <= summary["falls"]["deconvnet"] <= high
    assert result.methods == ("deconvnet", "guided", "gradient", *CONTROLS)
    note = " ".join(result.plot().get_supxlabel().split())
    assert "when the pixels show the image's mean colour, the blurred image, noise;" in note


class Average(nn.Module):
    """Every pixel of the field counts alike, as far as it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Conv2d(3, 2, 1, bias=False)
        nn.init.constant_(self.grey.weight, 1 / 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(nn.functional.avg_pool2d(torch.relu(self.grey(x)), 16, 8))


def test_where_every_pixel_counts_alike_blind_choices_lose_what_they_cover(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    source = SequenceSource(
        [Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(9)]
    )
    net = backlight.capture(Average(), (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu_1"])
    shares = (0.1, 0.3, 0.6)
    result = faithfulness.run(
        atlas, net, source, config=FaithfulnessConfig(hits=9, shares=shares, fills=("mean",))
    )
    falls = dict(zip(result.methods, np.nanmean(result.falls[..., 0], axis=0), strict=True))
    for name in (
        "random",
        "centre",
        "other image",
        "deconvnet",
    ):  # it has no switch here, and asks no rectifier
        np.testing.assert_allclose(falls[name], shares, atol=0.06)
    assert (falls["guided"] > 1.5 * np.array(shares)).all()  # only half of the pixels are bright
    # two maps cannot tell, nine hits of one can
    assert result.verdict("relu_1").text == "too few to tell (n = 2)"
    rivals = result.verdict("relu_1", 0).rivals
    assert list(rivals) == ["guided", "gradient"]
    assert all(gain.is_lost for gain in rivals.values())
    # where every pixel counts alike, nothing is gained over pixels on the other side of the unit
    turned = np.nanmean(result.turned[..., 0], axis=0)
    np.testing.assert_allclose(turned[0], shares, atol=0.06)
    assert np.isnan(result.falls[:, result.methods.index("other map")]).sum() == 0


def test_on_a_random_net_over_noise_the_controls_are_controls(tmp_path: Path, small_net: SmallNet) -> None:
    generator = np.random.default_rng(7)
    source = SequenceSource(
        [Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(12)]
    )
    net = backlight.capture(small_net, (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu2"], top=6)
    result = faithfulness.run(atlas, net, source, config=FaithfulnessConfig(hits=6, shares=(0.1, 0.3)))
    falls = result.verdict("relu2").falls
    blind = [
        falls[name] for name in ("random", "centre", "sobel")
    ]  # nothing in noise tells them where to look
    assert max(blind) - min(blind) < 0.08
    for name in ("other map", "other image"):
        assert max(blind) < falls[name] < falls["deconvnet"] - 0.1


def test_a_result_comes_again_with_its_seed_and_comes_back_from_its_files(
    planted: Planted, tmp_path: Path
) -> None:
    config = FaithfulnessConfig(maps=1, hits=2, shares=(0.1,), fills=("noise",), seed=3)
    first, second = (faithfulness.run(*planted, config=config) for _ in range(2))
    np.testing.assert_array_equal(first.falls, second.falls)
    assert len(np.unique(first.channels)) == 1
    first.save(tmp_path / "found")
    for back in (Faithfulness.load(tmp_path / "found"), Faithfulness.from_bytes(first.to_bytes())):
        np.testing.assert_array_equal(back.falls, first.falls)
        assert back.summary() == first.summary()
        assert back.config == config
    other = faithfulness.run(
        *planted, config=FaithfulnessConfig(maps=1, hits=2, shares=(0.1,), fills=("noise",), seed=4)
    )
    assert not np.array_equal(first.falls, other.falls)
    assert first._repr_png_().startswith(b"\x89PNG")


def test_crops_give_what_whole_images_give(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FaithfulnessConfig(hits=2, shares=(0.1, 0.4))
    on_crops = faithfulness.run(*planted, config=config)
    monkeypatch.setattr("backlight.studies.responses.crops_of", lambda net, layer: None)
    on_images = faithfulness.run(*planted, config=config)
    np.testing.assert_allclose(on_crops.falls, on_images.falls, atol=1e-5)
    np.testing.assert_allclose(on_crops.values, on_images.values, rtol=1e-5)


def test_evidence_is_kept_in_the_atlas_and_shown(
    planted: Planted,
) -> None:
    atlas, net, source = planted
    assert atlas["relu_1"].evidence is None
    plain = atlas.figure("relu_1")
    config = FaithfulnessConfig(hits=6, shares=(0.1, 0.2))
    result = faithfulness.run(atlas, net, source, config=config)
    result.keep(atlas.path)
    again = backlight.open_atlas(atlas.path)
    kept = again["relu_1"][0].evidence
    assert kept is not None
    assert kept.falls == result.verdict("relu_1", 0).falls
    assert kept.verdict == result.verdict("relu_1", 0).text
    assert again["relu_1"].evidence.n == 2
    assert again.figure("relu_1").height > plain.height


def test_what_is_kept_is_not_done_again_but_another_study_is(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas, net, source = planted
    config = FaithfulnessConfig(hits=2, shares=(0.1,))
    faithfulness.run(atlas, net, source, config=config).keep(atlas.path)
    again = backlight.open_atlas(atlas.path)
    called: list[str] = []
    layer = Falls.layer
    monkeypatch.setattr(
        Falls, "layer", lambda self, own, *rest: called.append(own.name) or layer(self, own, *rest)
    )
    faithfulness.run(again, net, source, config=config)
    assert called == []
    faithfulness.run(again, net, source, config=FaithfulnessConfig(hits=2, shares=(0.2,)))
    assert called == ["relu_1"]
    known = again["relu_1"].evidence
    assert known is not None
    backlight.atlas.keep_evidence(atlas.path, "relu_1", known, {}, b"damaged")
    faithfulness.run(backlight.open_atlas(atlas.path), net, source, config=config)
    assert called == ["relu_1"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": ()}, "shares lie between 0 and 1"),
        ({"shares": (1.5,)}, r"shares lie between 0 and 1, such as 0.05 and 0.2, got \(1.5,\)"),
        ({"hits": 0}, "hits must be at least 1, got 0"),
        ({"maps": 0}, "maps must be at least 1, got 0"),
    ],
)
def test_a_config_is_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        FaithfulnessConfig(**change)


def test_another_network_or_other_images_are_refused(
    planted: Planted,
) -> None:
    atlas, net, source = planted
    pattern, others = plant(12, np.random.default_rng(6))
    with pytest.raises(BadInputError, match="was built over other images than 'memory'"):
        faithfulness.run(atlas, net, others)
    with pytest.raises(BadInputError, match="was built with another model or other weights"):
        faithfulness.run(atlas, backlight.capture(Detector(pattern), (3, SIZE, SIZE), MEAN), source)


# --- verdicts -------------------------------------------------------------------------------------------------


def test_a_verdict_names_what_is_not_beaten_and_what_is_better() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(0.6, 0.05, 30)
    columns = [base, base - 0.2, base + generator.normal(0, 0.05, 30), base + 0.1, base + 0.2]
    methods = ["deconvnet", "random", "centre", "sobel", "guided"]
    found = judge(methods, np.stack(columns, 1), ["random", "centre", "sobel"])
    words = "worse than edges; not surely better than a disc at the centre; guided is better (n = 30)"
    assert found.text == words
    assert not found.is_strong
    assert (
        judge(methods[:2], np.stack(columns[:2], 1), ["random"]).text == "better than every control (n = 30)"
    )


def test_direction_and_distance_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    own = generator.normal(0.5, 0.05, 16)
    methods = ["deconvnet", "turned", "centre"]

    def words(turned: float, centre: float) -> str:
        noise = generator.normal(0, 0.02, (2, 16))
        columns = np.stack([own, own + turned + noise[0], own + centre + noise[1]], 1)
        return judge(methods, columns, methods[1:]).text.partition(" (")[0]

    assert words(-0.2, -0.2) == "better than every control"
    assert words(-0.2, 0.2) == ("right direction, mass too far out; worse than a disc at the centre")
    assert words(0.0, -0.2) == "not surely better than its own mask turned"
    assert words(0.2, 0.2) == "worse than its own mask turned and a disc at the centre"


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_few_samples_beat_nothing_however_clear_they_are(n: int) -> None:
    falls = np.tile([0.9, 0.1], (n, 1))
    found = judge(["a", "b"], falls, ["b"])
    assert found.text == f"too few to tell (n = {n})"
    assert not found.is_strong


def test_a_missing_control_is_left_out() -> None:
    falls = np.tile([0.9, 0.1, np.nan], (9, 1))
    found = judge(["a", "b", "c"], falls, ["b", "c"])
    assert found.is_strong
    assert found.falls["c"] is None


METHODS = ["deconvnet", *CONTROLS, "guided"]


@pytest.mark.parametrize("n", [3, 6, 8, 9, 16])
def test_where_nothing_differs_a_verdict_is_wrong_in_one_case_of_twenty(n: int) -> None:
    """Simulated null: all methods cover equally well; any difference that is claimed is wrong."""
    generator = np.random.default_rng(n)
    runs = 400
    falls = generator.beta(2, 1, (runs, n, 1)) + generator.standard_t(4, (runs, n, len(METHODS))) * 0.1
    found = [judge(METHODS, own, CONTROLS) for own in falls]
    # a verdict claims something of the controls, or of the rival rules: each is held at its word
    claimed = [{name for name, g in own.gains.items() if g.is_won or g.is_lost} for own in found]
    about_direction = np.mean(["turned" in own for own in claimed])
    about_controls = np.mean([bool(own - {"turned"}) for own in claimed])
    about_rivals = np.mean([any(g.is_won or g.is_lost for g in own.rivals.values()) for own in found])
    # 0.05 and three standard errors of a rate of 0.05 in 400 runs
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert about_direction <= bound
    assert about_controls <= bound
    assert about_rivals <= bound
    assert not any(own.beats_all for own in found)
    assert [own.is_strong for own in found] == [own.gains["turned"].is_won for own in found]


@pytest.mark.parametrize("n", [6, 9, 16])
def test_a_projection_that_equals_one_control_is_called_better_than_all_in_one_case_of_twenty(n: int) -> None:
    """The hardest null for a claim that needs no correction: all other controls are beaten by far."""
    generator = np.random.default_rng(n)
    runs = 400
    falls = generator.normal(0.2, 0.02, (runs, n, len(METHODS)))
    falls[..., :2] = generator.normal(0.8, 0.1, (runs, n, 2))
    strong = np.mean([judge(METHODS, own, CONTROLS).beats_all for own in falls])
    # a two-sided test, of which only one side leads to the claim
    assert strong <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_two_maps_of_sixteen_can_be_called_better_than_every_control() -> None:
    generator = np.random.default_rng(0)
    falls = generator.normal(0.3, 0.05, (16, 9, len(METHODS)))
    falls[:2, :, 0] += 0.5
    verdicts = judge_maps(METHODS, list(falls), CONTROLS)
    assert [own.beats_all for own in verdicts] == [True] * 2 + [False] * 14
    assert verdicts[0].text.startswith("better than every control (n = 9, p = ")


def test_among_maps_that_are_even_hardly_one_is_called_better() -> None:
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        falls = generator.normal(0.5, 0.1, (16, 9, len(METHODS)))
        verdicts = judge_maps(METHODS, list(falls), CONTROLS)
        wrong += any(gain.is_won or gain.is_lost for own in verdicts for gain in own.gains.values())
    # 6 controls of 40 layers, each with a rate of at most 0.05 before Holm's correction makes it far smaller
    assert wrong / 40 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


def test_maps_that_are_better_are_called_so_among_even_ones() -> None:
    generator = np.random.default_rng(0)
    falls = generator.normal(0.3, 0.05, (12, 9, len(METHODS)))
    falls[:8, :, 0] += 0.5
    strong = [own.is_strong for own in judge_maps(METHODS, list(falls), CONTROLS)]
    assert strong == [True] * 8 + [False] * 4


def test_other_rules_are_advised_only_on_a_verdict() -> None:
    """Under a simulated null the default is left in one case of twenty."""
    generator = np.random.default_rng(0)
    low = {name: np.zeros(16) for name in ("deconvnet", "guided", "gradient")}
    left = 0
    for _ in range(400):
        falls = {name: generator.normal(0.5, 0.2, 16) for name in low}
        left += advised_rules(falls, low, "deconvnet") != "deconvnet"
    assert left / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_the_default_rules_stay_unless_others_are_surely_better() -> None:
    own = np.linspace(0.5, 0.7, 9)
    low = dict.fromkeys(("deconvnet", "guided", "gradient"), own - 0.4)
    uneven = own + np.where(np.arange(9) % 2, 0.2, -0.15)
    better = {"deconvnet": own, "guided": own + 0.1, "gradient": own + 0.2}
    assert advised_rules({"deconvnet": own, "guided": uneven}, low, "deconvnet") == "deconvnet"
    assert advised_rules(better, low, "deconvnet") == "gradient"
    few = {name: values[:4] for name, values in better.items()}
    assert advised_rules(few, {name: values[:4] for name, values in low.items()}, "deconvnet") == "deconvnet"
    # better only because its pixels lie nearer to the middle
    near = low | {"gradient": own + 0.2}
    assert advised_rules(better, near, "deconvnet") == "guided"


# --- the turned mask ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box", [Box(3, 4, 12, 13), Box(-4, 2, 6, 12), Box(20, 25, 34, 39), Box(-2, -3, 40, 37)]
)
def test_a_turned_mask_has_as_many_pixels_in_each_ring(box: Box) -> None:
    generator = np.random.default_rng(2)
    hit = Subject(Unit("conv", 0, 0, 0), 0, 0, box, box.clip(SIZE, SIZE))
    mask = generator.random((hit.inside.height, hit.inside.width)) < 0.2
    rings = np.rint(distances(hit)).astype(int)
    for quarters in range(1, 4):
        found = turned(mask, hit, quarters, generator)
        assert found.shape == mask.shape
        np.testing.assert_array_equal(np.sort(rings[found]), np.sort(rings[mask]))
        if hit.box == hit.inside and box.height == box.width:
            np.testing.assert_array_equal(found, np.rot90(mask, quarters))


def test_what_is_turned_out_of_the_image_is_replaced_and_the_rest_is_kept() -> None:
    hit = Subject(Unit("conv", 0, 0, 0), 0, 0, Box(-5, 0, 6, 11), Box(0, 0, 6, 11))
    mask = np.zeros((6, 11), bool)
    mask[5, 5] = mask[0, 10] = True  # straight down, and to the right of the middle
    found = turned(mask, hit, 1, np.random.default_rng(0))
    assert found[0, 10]  # what was below is now to the right; what was to the right would be above the image
    np.testing.assert_array_equal(np.rint(distances(hit))[found], [5, 5])


def test_a_fall_below_zero_counts_as_all(tmp_path: Path) -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 5)
            nn.init.normal_(self.conv.weight, generator=torch.Generator().manual_seed(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.leaky_relu(self.conv(x), 0.2)

    generator = np.random.default_rng(0)
    source = SequenceSource(
        [Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(6)]
    )
    net = backlight.capture(Leaky(), (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["leaky_relu"])
    result = faithfulness.run(atlas, net, source, config=FaithfulnessConfig(hits=4, shares=(0.5,)))
    assert np.nanmax(result.falls) == 1
    assert np.nanmax(result.turned) <= 1
