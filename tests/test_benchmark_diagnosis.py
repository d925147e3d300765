"""The benchmark of the diagnosis: faults are planted where it is said, and its tables count right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backlight import capture
from studies.diagnosed import SIDE, images, sound

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KINDS = ("dead", "duplicate", "loud", "aliased", "border", "uneven", "two_causes")


@pytest.fixture(autouse=True)
def _importable(benchmarks: Path) -> None:
    """Every test here imports benchmarks."""


@pytest.fixture
def subject():
    import faults

    model = sound()
    return faults.Subject("small", model, capture(model, (3, SIDE, SIDE)), images(120))


def maps_of(subject, planted) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maps of the planted layer before and after, (n, c, h, w) each."""
    before = subject.net.features([planted.layer])(subject.images)[0]
    after = subject.recapture(planted.model).features([planted.layer])(subject.images)[0]
    return before, after


@pytest.mark.parametrize("kind", ["dead", "duplicate", "loud", "border", "two_causes"])
def test_a_fault_of_a_map_changes_that_map_alone(kind: str, subject, monkeypatch) -> None:
    import faults

    monkeypatch.setattr(faults, "_ALONE", 0.6)  # of random filters no two maps are further apart
    before = {name: own.clone() for name, own in subject.model.state_dict().items()}
    planted = faults.PLANTERS[kind](subject, np.random.default_rng(0))
    one, other = maps_of(subject, planted)
    changed = [c for c in range(one.shape[1]) if not torch.equal(one[:, c], other[:, c])]
    assert changed == [planted.channel]
    assert all(torch.equal(own, subject.model.state_dict()[name]) for name, own in before.items())


def test_a_dead_map_is_zero_and_a_duplicate_is_another_map(subject) -> None:
    import faults

    planted = faults.dead(subject, np.random.default_rng(1))
    assert not maps_of(subject, planted)[1][:, planted.channel].any()
    planted = faults.duplicate(subject, np.random.default_rng(1))
    maps = maps_of(subject, planted)[1]
    same = [c for c in range(maps.shape[1]) if torch.equal(maps[:, c], maps[:, planted.channel])]
    assert len(same) == 2


def test_a_loud_filter_has_ten_times_the_rms(subject) -> None:
    import faults
    from backlight.studies.diagnosis.rms import rms_of
    from backlight.studies.diagnosis.stages import Stages

    planted = faults.loud(subject, np.random.default_rng(2))
    rms = [
        rms_of(Stages(net, [net.layer(planted.layer)]).by_layer[planted.layer].weight)[planted.channel]
        for net in (subject.net, subject.recapture(planted.model))
    ]
    assert rms[1] == pytest.approx(10 * rms[0], rel=1e-5)


def test_a_border_detector_and_uneven_padding_and_a_stride_are_what_they_are_called(subject) -> None:
    import faults

    planted = faults.border(subject, np.random.default_rng(3))
    strongest = maps_of(subject, planted)[1][:, planted.channel].flatten(1).argmax(1)
    assert (strongest // (SIDE // 2) == 0).float().mean() > 0.9
    planted = faults.uneven(subject, np.random.default_rng(3))
    field = subject.recapture(planted.model).layer(planted.layer).receptive_field
    assert field is not None
    assert field.rows.offset > subject.net.layer(planted.layer).receptive_field.rows.offset
    planted = faults.aliased(subject, np.random.default_rng(3))
    assert planted.layer == "1"
    assert subject.recapture(planted.model).layer("1").shape == (12, 6, 6)


def test_a_fine_texture_lies_above_what_a_stride_of_four_carries(subject) -> None:
    import faults

    fine = faults.fine_texture(subject.images, np.random.default_rng(0)) - subject.images
    power = torch.fft.fft2(fine).abs().square()
    rows = torch.fft.fftfreq(SIDE).abs()
    coarse = torch.maximum(rows[:, None], rows) <= 1 / 8
    assert (power * coarse).sum() < 1e-6 * power.sum()
    assert fine.std().item() == pytest.approx(subject.images.std().item(), rel=1e-3)


def test_the_plantings_take_every_fault_to_every_network() -> None:
    import diagnosis

    settings = diagnosis.Settings()
    planned = list(diagnosis.plantings(settings))
    assert len(planned) == len({seed for seed, _, _ in planned}) == 200
    assert len({(kind, name) for _, kind, name in planned}) == len(KINDS) * len(diagnosis.NAMES)


def test_the_tables_count_recall_and_false_alarms() -> None:
    import diagnosis

    planted = [{"fault": "dead", "found": i > 0} for i in range(20)]
    header, rows = diagnosis.planted_table({"planted": planted})
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0][:3] == ["dead", "20", "19"]
    assert rows[0][3].startswith("95.0% (75.1% to 99.9%)")  # Clopper and Pearson
    assert rows[-1][:3] == ["all", "20", "19"]
    sound_rows = [
        {"kind": "dead", "maps": 100, "accused": 3, "confirmed": 2},
        {"kind": "border", "maps": 80, "accused": 5, "confirmed": 5},
        {"kind": "uneven", "maps": 100, "accused": 100, "confirmed": 0},
    ]
    header, rows = diagnosis.sound_table({"sound": sound_rows})
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0][1:5] == ["100", "3", "2", "1"]
    assert rows[-1][:5] == ["all", "100", "8", "7", "1"]  # arithmetic is left out
    assert rows[-1][5].startswith("1.0%")


def test_the_page_says_what_the_benchmark_found() -> None:
    import diagnosis
    import report
    from common import read_results

    found = read_results(diagnosis.PART)
    page = (BENCHMARKS.parent / "docs" / "diagnosis.md").read_text()
    assert found is not None
    assert report.fill(page, {diagnosis.PART: found}) == page
    assert len({row["seed"] for row in found["planted"]}) == len(found["planted"]) == 200
    assert {row["network"] for row in found["sound"]} == set(diagnosis.NAMES)
