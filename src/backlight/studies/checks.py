"""Checks of what studies are given: numbers in range, and an atlas that is finished and fits network and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlight.atlas import Atlas
from backlight.atlas.opening import how_to_finish
from backlight.errors import BadInputError

if TYPE_CHECKING:  # torch takes seconds to import, and configurations that are only read need none of it
    from backlight.images import ImageSource
    from backlight.network import Network


def check_at_least(least: int, **values: int | None) -> None:
    """Raise BadInputError unless every number is at least so large; None, where a default stands in, passes.

    Example:
        >>> check_at_least(1, maps=None, hits=0)
        Traceback (most recent call last):
        backlight.errors.BadInputError: hits must be at least 1, got 0
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise BadInputError(f"{name} must be at least {least}, got {value}")


def check_finished(atlas: Atlas) -> None:
    """Raise BadInputError unless the build of an atlas is finished."""
    if atlas.phase != "done":
        raise BadInputError(f"{atlas.path.name} is not finished", **how_to_finish(atlas.path))


def check_network(atlas: Atlas, net: Network) -> None:
    """Raise BadInputError unless an atlas was built with this network and its weights."""
    if net.fingerprint() != atlas.model.fingerprint:
        raise BadInputError(f"{atlas.path.name} was built with another model or other weights; use those")


def check_belongs(atlas: Atlas, net: Network, source: ImageSource) -> None:
    """Raise BadInputError unless an atlas is finished and was built with this network over these images."""
    check_finished(atlas)
    check_network(atlas, net)
    if source.fingerprint() != atlas.image_set.fingerprint:
        raise BadInputError(f"{atlas.path.name} was built over other images than {source.name!r}; use those")
