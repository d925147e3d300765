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
from backlight.images import SequenceSource
from backlight.studies import faithfulness
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig
from backlight.studies.faithfulness.falls import Falls
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.faithfulness.verdicts import advised_rules, judge
from conftest import SmallNet

SIZE, PATTERN = 32, 5
MEAN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Detector(nn.Module):
    """Finds a planted pattern anywhere in a wide field: a matched filter, and the largest of its answers around."""

    def __init__(self, pattern: torch.Tensor) -> None:
        super().__init__()
        self.match = nn.Conv2d(3, 2, PATTERN)
        self.pool = nn.MaxPool2d(4)
        self.around = nn.MaxPool2d(5, 1, 2)
        with torch.no_grad():
            self.match.weight[0] = pattern / pattern.square().sum()
            self.match.weight[1] = torch.randn_like(pattern) / 20
            self.match.bias.copy_(torch.tensor([-0.3, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.around(self.pool(torch.relu(self.match(x)))))


def _planted(count: int, generator: np.random.Generator) -> tuple[torch.Tensor, SequenceSource]:
    """Return the pattern, and faint noise images each of which shows it somewhere off the middle."""
    pattern = generator.choice([0, 255], (PATTERN, PATTERN, 3)).astype(np.uint8)
    pictures = []
    for _ in range(count):
        image = generator.integers(118, 138, (SIZE, SIZE, 3), np.uint8)
        row, col = generator.choice([3, 4, 22, 23], 2)
        image[row : row + PATTERN, col : col + PATTERN] = pattern
        pictures.append(Image.fromarray(image))
    return torch.from_numpy(pattern / 255.0 - 0.5).permute(2, 0, 1).float() * 4, SequenceSource(pictures)


@pytest.fixture
def planted(tmp_path: Path) -> tuple[backlight.Atlas, backlight.Network, SequenceSource]:
    pattern, source = _planted(12, np.random.default_rng(5))
    net = backlight.capture(Detector(pattern), (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu_1"], top=6)
    return atlas, net, source


def test_a_planted_pattern_is_what_the_projection_shows(
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource],
) -> None:
    atlas, net, source = planted
    result = faithfulness.run(atlas, net, source, config=FaithfulnessConfig(hits=6, shares=(0.1, 0.2)))
    own = result.verdict("relu_1", 0)
    assert own.falls["deconvnet"] > 0.9
    assert max(own.falls["random"], own.falls["centre"]) < 0.5
    assert not {"random", "centre", "other image"} & {*own.equal, *own.better}
    summary = result.summary()["relu_1"]
    assert summary["n_hits"] == len(result.values) == 12
    low, high = summary["intervals"]["deconvnet"]
    assert low <= summary["falls"]["deconvnet"] <= high
    assert result.methods == ("deconvnet", "guided", "gradient", *CONTROLS)


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
    assert result.verdict("relu_1").rivals == ("guided", "gradient")
    assert result.advised_rules("relu_1") in ("guided", "gradient")
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
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource], tmp_path: Path
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


def test_crops_give_what_whole_images_give(
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FaithfulnessConfig(hits=2, shares=(0.1, 0.4))
    on_crops = faithfulness.run(*planted, config=config)
    monkeypatch.setattr("backlight.studies.responses.crops_of", lambda net, layer: None)
    on_images = faithfulness.run(*planted, config=config)
    np.testing.assert_allclose(on_crops.falls, on_images.falls, atol=1e-5)
    np.testing.assert_allclose(on_crops.values, on_images.values, rtol=1e-5)


def test_evidence_is_kept_in_the_atlas_and_shown(
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource],
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
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource], monkeypatch: pytest.MonkeyPatch
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
    planted: tuple[backlight.Atlas, backlight.Network, SequenceSource],
) -> None:
    atlas, net, source = planted
    pattern, others = _planted(12, np.random.default_rng(6))
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
    assert found.text == "worse than sobel; no better than centre; guided is better"
    assert not found.is_strong
    assert judge(methods[:2], np.stack(columns[:2], 1), ["random"]).text == "better than every control"


def test_one_sample_beats_nothing_and_a_missing_control_is_left_out() -> None:
    assert judge(["a", "b"], np.array([[0.9, 0.1]]), ["b"]).text == "no better than b"
    falls = np.array([[0.9, 0.1, np.nan], [0.8, 0.1, np.nan], [0.9, 0.2, np.nan]])
    found = judge(["a", "b", "c"], falls, ["b", "c"])
    assert found.is_strong
    assert found.falls["c"] is None


def test_a_control_alike_is_seldom_beaten() -> None:
    generator = np.random.default_rng(1)
    beaten = [
        judge(["a", "b"], generator.normal(0.5, 0.2, (24, 2)), ["b"], seed).is_strong for seed in range(200)
    ]
    assert np.mean(beaten) < 0.06


def test_the_default_rules_stay_unless_others_are_surely_better() -> None:
    own = np.array([0.5, 0.6, 0.7])
    assert (
        advised_rules({"deconvnet": own, "guided": own + np.array([0.2, -0.1, 0.1])}, "deconvnet")
        == "deconvnet"
    )
    assert (
        advised_rules({"deconvnet": own, "guided": own + 0.1, "gradient": own + 0.2}, "deconvnet")
        == "gradient"
    )
