"""The diagnosis: planted faults are found where they are, a sound network is left alone, and it says what it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from backlight.errors import BadInputError, UnknownLayerError
from backlight.studies.diagnosis import KINDS, Diagnosis, DiagnosisConfig, Finding, run
from backlight.studies.diagnosis.bounds import Bound
from backlight.studies.diagnosis.plot import shares_of
from backlight.studies.diagnosis.result import LookedFor
from backlight.studies.diagnosis.verdicts import Outcome, verdicts
from studies.diagnosed import SIDE, faulty, images, sound

FIRST, SECOND = "1", "5"


def diagnosed(model: nn.Module, count: int = 120, **options: object) -> Diagnosis:
    net = backlight.capture(model, (3, SIDE, SIDE))
    return run(net, images(count), **options)  # type: ignore[arg-type]


def dead(model: nn.Sequential) -> None:
    model[4].weight[7], model[4].bias[7] = 0, -1


def duplicate(model: nn.Sequential) -> None:
    model[0].weight[2], model[0].bias[2] = model[0].weight[9], model[0].bias[9]


def loud(model: nn.Sequential) -> None:
    model[4].weight[4] *= 10


def at_the_border(model: nn.Sequential) -> None:
    """Make map 3 of the second layer the difference of a place and the one above it, over all maps."""
    weight = torch.zeros_like(model[3].weight[3])
    weight[:, 1, 1], weight[:, 0, 1] = 1, -1
    model[3].weight[3] = weight
    model[4].running_mean[3], model[4].running_var[3] = 0, 1


def two_causes(model: nn.Sequential) -> None:
    """Let map 5 of the second layer answer to maps 0 and 1 below, which see red and green alone."""
    model[0].weight[:2], model[0].bias[:2] = 0, 0
    model[0].weight[0, 0, 1, 1] = model[0].weight[1, 1, 1, 1] = 1
    weight = torch.zeros_like(model[3].weight[5])
    weight[:2, 1, 1] = 1
    model[3].weight[5] = weight
    model[4].running_mean[5], model[4].running_var[5] = 0, 1


@pytest.mark.parametrize(
    ("change", "kind", "layer", "maps"),
    [
        (dead, "dead", SECOND, {7}),
        (duplicate, "duplicate", FIRST, {2, 9}),
        (loud, "loud", SECOND, {4}),
        (at_the_border, "border", SECOND, {3}),
    ],
)
def test_a_planted_fault_is_found_in_its_map_and_nowhere_else(change, kind, layer, maps) -> None:
    result = diagnosed(faulty(change))
    assert result.maps_with(kind, layer) == maps
    other = SECOND if layer == FIRST else FIRST
    assert result.maps_with(kind, other) == set()


def test_a_map_of_two_patterns_is_found_where_images_have_one_of_them_each() -> None:
    net, pictures = backlight.capture(faulty(two_causes), (3, SIDE, SIDE)), images(200)
    both = run(net, pictures)
    pictures[::2, 0], pictures[1::2, 1] = 0, 0
    (finding,) = run(net, pictures).of("causes", SECOND)
    assert finding.channels == (5,)
    assert "by map 0 below (100%)" in finding.says
    assert "by map 1 below (100%)" in finding.says
    # where every image has both, most hits are driven by both
    assert both.maps_with("causes", SECOND) == set()


def test_a_sound_network_is_not_accused() -> None:
    result = diagnosed(sound())
    assert result.findings == ()
    assert {own.kind for own in result.looked_for} | {own.kind for own in result.lacking} == set(KINDS)
    assert result.n_looked_for > 100


def test_a_stride_of_four_under_a_fine_texture_aliases_and_without_it_does_not() -> None:
    def plain(model: nn.Sequential) -> None:
        model[0].stride = (4, 4)
        model[0].weight[:] = model[0].weight.abs()  # low-pass filters

    model = faulty(plain)
    net = backlight.capture(model, (3, SIDE, SIDE))
    smooth = nn.functional.avg_pool2d(images(40), 9, 1, 4)
    fine = smooth + torch.cos(torch.pi / 2 * torch.arange(SIDE)) * 3
    found = [run(net, own).maps_with("aliased", FIRST) for own in (smooth, fine)]
    assert found == [set(), set()]  # a finding of the layer names no maps
    assert [len(run(net, own).of("aliased", FIRST)) for own in (smooth, fine)] == [0, 1]
    assert run(net, fine).share("aliased", [FIRST]) == 1


def test_padding_on_one_side_is_found_by_arithmetic() -> None:
    def uneven(model: nn.Sequential) -> None:
        model[3].padding = (0, 0)
        model.insert(3, nn.ZeroPad2d((0, 2, 0, 2)))

    result = diagnosed(faulty(uneven), count=8)
    (finding,) = result.of("uneven")
    assert finding.layer == "6"
    assert finding.p is None
    assert finding.value == 4  # two cells of two pixels
    assert diagnosed(sound(), count=8).of("uneven") == ()


def test_too_few_images_say_how_many_it_takes() -> None:
    result = diagnosed(faulty(lambda model: model[4].bias.__setitem__(7, -100)), count=20)
    reasons = {own.reason for own in result.lacking if own.kind == "dead"}
    assert any("20 images cannot tell" in reason and "give at least 59" in reason for reason in reasons)
    assert result.of("dead") == ()


def test_a_filter_of_zeros_is_dead_whatever_the_number_of_images() -> None:
    def zero(model: nn.Sequential) -> None:
        model[0].weight[5], model[0].bias[5] = 0, 0

    (finding,) = diagnosed(faulty(zero), count=5).of("dead")
    assert (finding.layer, finding.channels, finding.p) == (FIRST, (5,), 0.0)


def test_what_does_not_apply_is_said_with_its_reason() -> None:
    net = backlight.capture(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), (3, SIDE, SIDE))
    lacking = {own.kind: own.reason for own in run(net, images(60)).lacking}
    assert lacking["aliased"] == "the network has no stride"
    assert lacking["checkerboard"] == "no stride lies below it"
    assert "no bands" in lacking["frequencies"]
    assert "no boxes are given" in lacking["field"]


def test_an_unrectified_layer_has_no_threshold() -> None:
    net = backlight.capture(nn.Sequential(nn.Conv2d(3, 8, 3)), (3, SIDE, SIDE))
    result = run(net, images(60))
    assert {own.kind for own in result.lacking} >= {"sleeping", "always_on"}


def test_the_same_seed_gives_the_same_result_and_the_network_is_only_read() -> None:
    model = faulty(two_causes)
    before = {name: own.clone() for name, own in model.state_dict().items()}
    one, other = diagnosed(model, 60), diagnosed(model, 60)
    assert one.report() == other.report()
    assert all(torch.equal(own, model.state_dict()[name]) for name, own in before.items())


def test_a_result_is_saved_and_drawn(tmp_path: Path) -> None:
    result = diagnosed(faulty(at_the_border))
    result.save(tmp_path / "d")
    again = Diagnosis.load(tmp_path / "d")
    assert again.findings == result.findings
    assert np.array_equal(again.pictures, result.pictures)
    assert len(result.pictures) > 0
    shares = shares_of(result)
    row, column = result.layers.index(SECOND), list(KINDS).index("border")
    assert shares[row, column] == pytest.approx(1 / 12)
    assert result.plot().get_suptitle().startswith("Diagnosis of Sequential")


def test_a_progress_and_other_layers_and_objects() -> None:
    said: list[tuple[str, int, int]] = []
    net = backlight.capture(sound(), (3, SIDE, SIDE))
    result = run(
        net,
        images(30),
        [SECOND],
        DiagnosisConfig(n_images=20),
        objects=[(20.0, 22.0)] * 3,
        progress=lambda *own: said.append(own),
    )
    assert said[-1] == ("diagnosis", 60, 60)
    assert result.n_images == 20
    (field,) = result.of("field")
    assert "100% of 3 objects are larger than the fields of" in field.says
    with pytest.raises(UnknownLayerError, match="has no layer 'x'"):
        run(net, images(5), ["x"])


@pytest.mark.parametrize(
    ("text", "bound"),
    [("dead>0.2", Bound("dead", 0.2)), ("loud > 5%", Bound("loud", 0.05))],
)
def test_bounds_are_read(text: str, bound: Bound) -> None:
    assert Bound.parse(text) == bound


@pytest.mark.parametrize("text", ["dead", "dead<0.2", "dead>2", "dead>1.2.3", "", "dead>-1"])
def test_a_malformed_bound_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="a kind of finding and a share"):
        Bound.parse(text)


def test_a_bound_on_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(BadInputError, match=r"no finding 'deaf'; the kinds are dead, sleeping"):
        Bound.parse("deaf>0.1")


def test_a_bound_is_broken_by_more_than_its_share_and_by_ignorance() -> None:
    def zero(model: nn.Sequential) -> None:
        model[0].weight[:6], model[0].bias[:6] = 0, 0

    result = diagnosed(faulty(zero))
    assert result.share("dead") == 6 / 24
    assert Bound("dead", 0.25).broken_by(result) is None
    text = Bound("dead", 0.2).broken_by(result)
    assert text == "dead>0.2 is broken: 25.0% of the feature maps have this finding"
    few = diagnosed(sound(), count=5)
    assert "cannot be checked: 5 images" in str(Bound("dead", 0.2).broken_by(few))


def finding(p: float | None, kind: str = "dead", channel: int = 0, beyond: bool = True) -> Finding:
    return Finding(kind, "a", (channel,), 1.0, "share", 0.5, "", "", p=p, is_found=beyond)


def test_p_values_of_a_kind_are_corrected_together() -> None:
    tested = Outcome()
    # Benjamini and Hochberg of 0.01, 0.02, 0.04 and 0.5: 0.04, 0.04, 0.0533, 0.5
    p_values = [0.02, 0.5, 0.01, 0.04]
    tested.add("dead", "a", 4, [finding(p, channel=i) for i, p in enumerate(p_values)])
    tested.add("loud", "a", 4, [finding(0.04, "loud")])
    found = verdicts([tested])
    assert [(own.kind, own.channels[0]) for own in found.findings] == [("dead", 0), ("dead", 2), ("loud", 0)]
    assert [own.p_corrected for own in found.findings] == pytest.approx([0.04, 0.04, 0.04])
    assert found.looked_for == (LookedFor("dead", "a", 4, 4, 2), LookedFor("loud", "a", 1, 4, 1))


def test_a_value_within_its_limit_is_no_finding_however_small_its_p() -> None:
    tested = Outcome()
    tested.add("dead", "a", 1, [finding(1e-9, beyond=False), finding(None, channel=1)])
    assert [own.channels for own in verdicts([tested]).findings] == [(1,)]


def test_a_config_refuses_what_makes_no_sense() -> None:
    for name, value in (("rare", 1.0), ("loud", 1.0), ("n_images", 0), ("n_hits", 3)):
        with pytest.raises(BadInputError, match=name):
            replace(DiagnosisConfig(), **{name: value})
    with pytest.raises(BadInputError, match="needs images"):
        diagnosed(sound(), count=0)
