"""A network's classes, and the probabilities that it gives them."""

import numpy as np
import pytest
from torch import nn

from backlight import capture
from backlight.errors import BadInputError
from backlight.studies.classes import are_probabilities, check_classes, class_name, probabilities

LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -3.0, 3.0]])


def test_logits_become_probabilities_and_probabilities_stay():
    found = probabilities(LOGITS, LOGITS[0])
    np.testing.assert_allclose(found, np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True))
    np.testing.assert_array_equal(probabilities(found, found[0]), found)


@pytest.mark.parametrize(
    ("row", "wanted"), [([0.25, 0.75], True), ([0.5, 0.4], False), ([-0.2, 1.2], False), ([1.0, 0.0], True)]
)
def test_probabilities_are_not_negative_and_sum_to_one(row, wanted):
    assert are_probabilities(np.array(row)) is wanted


def test_a_class_without_a_name_has_its_number():
    assert class_name(1, ["cat", "dog"]) == "dog"
    assert class_name(7, []) == "class 7"


def answering(n_classes):
    """Return the class output of a network with so many classes, or with maps only."""
    parts = [nn.Conv2d(1, 2, 3)] + ([nn.Flatten(), nn.Linear(72, n_classes)] if n_classes else [])
    return capture(nn.Sequential(*parts), (1, 8, 8)).class_output()


@pytest.mark.parametrize(
    ("n_classes", "classes", "names", "message"),
    [
        (3, [0], ["a", "b"], "net has 3 classes, got 2 names; give one name for each class, in order"),
        (0, [0], [], r"classes cannot be followed: net returns .*; leave the classes out"),
        (3, [0, 1], [], "each image has one class, got 2 for 1 images; give one for each image, in order"),
        (3, [3], [], "class 3 is out of range: net has 3 classes, 0 to 2; choose one of them"),
        (3, [-1], [], "class -1 is out of range"),
    ],
)
def test_classes_that_do_not_fit_are_refused(n_classes, classes, names, message):
    with pytest.raises(BadInputError, match=message):
        check_classes("net", answering(n_classes), 1, classes, names)


def test_classes_that_fit_pass():
    check_classes("net", answering(3), 2, [0, 2], ["a", "b", "c"])
    check_classes("net", answering(3), 2, None, [])
    check_classes("net", answering(0), 2, None, ["a"])
