"""Certifying: float64 decides what is contested, and what turns out to be when the maps are looked at again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.files import make_network
from backlight import plan_build
from backlight.engines.plan import Plan
from backlight.scan.certain import Question, QuestionGroup
from engines.plans import answer_group


@pytest.fixture
def plan(picture_folder: Path) -> Plan:
    return plan_build(make_network(), picture_folder, ["relu1", "relu2", "fc"], top=3)


def maps_of(plan: Plan, layer: int, image_id: int) -> torch.Tensor:
    """Return the maps (c, h, w) of an image, or its units (c,), in float32."""
    picture = plan.preprocessing.picture(plan.images.load(image_id))
    return plan.net.features([plan.layers[layer]])(plan.preprocessing.normalise([picture]))[0][0].detach()


def asked(plan: Plan, *keys: tuple[int, int, int], contested: bool, bound: float = 1e-4) -> QuestionGroup:
    """Return questions of layer, channel and image, their values those of float32."""
    questions = [
        Question(*key, float(maps_of(plan, key[0], key[2])[key[1]].max()), bound, contested) for key in keys
    ]
    return QuestionGroup(tuple(sorted({key[2] for key in keys})), tuple(questions))


def test_contested_hits_get_their_value_and_place(plan: Plan) -> None:
    keys = [(0, 2, 3), (1, 7, 3), (1, 0, 9), (2, 4, 9)]
    found = answer_group(plan, asked(plan, *keys, contested=True))
    assert [(a.layer_index, a.channel, a.image_id) for a in found] == keys
    for answer in found:
        own = maps_of(plan, answer.layer_index, answer.image_id)[answer.channel].numpy()
        assert answer.value == pytest.approx(own.max(), rel=1e-5)
        assert answer.value != own.max()
        place = divmod(int(own.argmax()), own.shape[-1]) if own.ndim else (-1, -1)
        assert (answer.row, answer.col) == place


def test_a_place_that_nothing_comes_close_to_is_not_asked_about_again(plan: Plan) -> None:
    # Of the first layer some maps are flat where the picture is: those have many places, and an answer.
    keys = [(1, channel, image) for image in (5, 6) for channel in range(12)]
    found = answer_group(plan, asked(plan, *keys, contested=False))
    far = [
        key
        for key in keys
        if np.diff(np.sort(maps_of(plan, key[0], key[2])[key[1]].numpy().ravel())[-2:])[0] > 3e-4
    ]
    assert len(far) >= 10
    assert not {(a.layer_index, a.channel, a.image_id) for a in found} & set(far)


def close_by(plan: Plan, share: float) -> QuestionGroup:
    """Return a question whose bound is a share of the gap between the two strongest positions."""
    first, second = np.sort(maps_of(plan, 0, 5)[2].numpy().ravel())[:-3:-1]
    return asked(plan, (0, 2, 5), contested=False, bound=float(first - second) * share)


@pytest.mark.parametrize(("share", "n_answers"), [(0.49, 0), (0.51, 1)])
def test_a_second_position_within_two_bounds_is_decided(plan: Plan, share: float, n_answers: int) -> None:
    assert len(answer_group(plan, close_by(plan, share))) == n_answers


def test_a_value_that_the_second_pass_does_not_find_is_decided(plan: Plan) -> None:
    question = asked(plan, (0, 2, 5), contested=False, bound=1e-5).questions[0]
    off = Question(0, 2, 5, question.value + 1e-3, 1e-5, False)
    (answer,) = answer_group(plan, QuestionGroup((5,), (off,)))
    assert answer.value == pytest.approx(question.value, abs=1e-6)


def test_no_group_depends_on_another_and_threads_are_as_before(plan: Plan) -> None:
    torch.set_num_threads(2)
    keys = [(layer, channel, image) for image in (1, 4, 6) for layer in (0, 1) for channel in (0, 3)]
    together = answer_group(plan, asked(plan, *keys, contested=True))
    alone = [answer_group(plan, asked(plan, key, contested=True))[0] for key in keys]
    assert list(together) == alone
    assert torch.get_num_threads() == 2


def test_float64_runs_on_one_thread(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    n_threads = []
    from backlight.engines import certify

    plain: Callable[..., object] = certify.strongest
    monkeypatch.setattr(
        certify, "strongest", lambda *of: n_threads.append(torch.get_num_threads()) or plain(*of)
    )
    answer_group(plan, asked(plan, (0, 2, 3), contested=True))
    assert n_threads == [1]
