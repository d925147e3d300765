"""A network's classes: whether it has any, and the probabilities that it gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from backlight.errors import BadInputError
from backlight.network.class_output import ClassOutput, describe_outputs

_SUM_TOLERANCE = 1e-3


def are_probabilities(row: NDArray[np.floating]) -> bool:
    """Return whether an output consists of probabilities: none is negative, and they sum to 1.

    Example:
        >>> are_probabilities(np.array([0.2, 0.8])), are_probabilities(np.array([0.2, 1.8]))
        (True, False)
    """
    return bool((row >= 0).all() and abs(row.sum() - 1) < _SUM_TOLERANCE)


def probabilities(rows: NDArray[np.floating], like: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities (n, classes) of outputs: their softmax, unless `like` consists of probabilities already.

    Example:
        >>> probabilities(np.array([[0.0, 0.0]]), np.array([3.0, -1.0]))
        array([[0.5, 0.5]])
    """
    values = rows.astype(np.float64)
    return values if are_probabilities(like) else softmax(values, axis=-1)


def class_name(index: int, names: Sequence[str]) -> str:
    """Return the name of a class; its number where there are no names.

    Example:
        >>> class_name(1, ["cat", "dog"]), class_name(1, ())
        ('dog', 'class 1')
    """
    return names[index] if names else f"class {index}"


def classes_of_labels(
    labels: Sequence[str | None], n_classes: int, known: Sequence[str] = ()
) -> list[int | None] | None:
    """Return the class of each image by its label; None where labels do not tell classes.

    Numbers are classes themselves. Names are those of folders, as torchvision's `ImageFolder` numbers them: in the
    order of the alphabet, if there are as many as there are classes.

    Args:
        labels: Of each image; None where it has none.
        n_classes: How many classes the network has.
        known: The names of the classes in their order, where the set of images says them.

    Example:
        >>> classes_of_labels(["cat", "dog", "cat", None], 2), classes_of_labels(["7", "0"], 10)
        ([0, 1, 0, None], [7, 0])
        >>> classes_of_labels(["cat", "dog"], 1000), classes_of_labels([None], 2), classes_of_labels(["12"], 10)
        (None, None, None)
        >>> classes_of_labels(["trouser", "bag"], 2, ["trouser", "bag"])
        [0, 1]
    """
    if known and len(set(known)) == len(known) == n_classes:
        numbered = {own: i for i, own in enumerate(known)}
        if all(own is None or own in numbered for own in labels):
            return [None if own is None else numbered[own] for own in labels]
    names = sorted({own for own in labels if own is not None})
    if not names or not n_classes:
        return None
    if all(own.isdecimal() for own in names):
        numbers = {own: int(own) for own in names}
        return (
            [None if own is None else numbers[own] for own in labels]
            if max(numbers.values()) < n_classes
            else None
        )
    places = {own: i for i, own in enumerate(names)}
    return [None if own is None else places[own] for own in labels] if len(names) == n_classes else None


def check_classes(
    network: str, chosen: ClassOutput, n_images: int, classes: Sequence[int] | None, names: Sequence[str]
) -> None:
    """Raise BadInputError unless there is one of the network's classes for each image, and one name for each class.

    Args:
        network: The network's name.
        chosen: The output that the class is read from.
        n_images: Number of images.
        classes: The class of each image; None where none are given.
        names: Names of the classes; empty where none are given.

    Raises:
        BadInputError: A class out of range, or too few or too many classes or names.
    """
    n_classes = chosen.n_classes
    if n_classes and names and len(names) != n_classes:
        output = "" if chosen.name is None else f" in its output {chosen.name!r}"
        other = " or choose another output" if len(chosen.outputs) > 1 else ""
        raise BadInputError(
            f"{network} has {n_classes} classes{output}, got {len(names)} names; give one name for each class, in "
            f"order{',' * bool(other)}{other}"
        )
    if classes is None:
        return
    if not n_classes:
        raise BadInputError(
            f"classes cannot be followed: {network} returns {describe_outputs(chosen.outputs)}, {chosen.rule}; "
            "leave the classes out"
        )
    if len(classes) != n_images:
        raise BadInputError(
            f"each image has one class, got {len(classes)} for {n_images} images; give one for each image, in order"
        )
    wrong = [index for index in classes if not 0 <= index < n_classes]
    if wrong:
        raise BadInputError(
            f"class {wrong[0]} is out of range: {network} has {n_classes} classes, 0 to {n_classes - 1}; "
            "choose one of them"
        )
