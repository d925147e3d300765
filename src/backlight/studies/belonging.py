"""Whether an atlas is what a study needs: finished, and of the network and the images that came with it."""

from __future__ import annotations

from backlight.atlas import Atlas
from backlight.atlas.opening import how_to_finish
from backlight.errors import BadInputError
from backlight.images import ImageSource
from backlight.network import Network


def check_finished(atlas: Atlas) -> None:
    """Raise BadInputError unless the build of an atlas is finished."""
    if atlas.phase != "done":
        raise BadInputError(f"{atlas.path.name} is not finished", **how_to_finish(atlas.path))


def check_network(atlas: Atlas, net: Network) -> None:
    """Raise BadInputError unless an atlas was built with this network and its weights."""
    if net.fingerprint() != atlas.model["fingerprint"]:
        raise BadInputError(f"{atlas.path.name} was built with another model or other weights; give those")


def check_belongs(atlas: Atlas, net: Network, source: ImageSource) -> None:
    """Raise BadInputError unless an atlas is finished and was built with this network over these images."""
    check_finished(atlas)
    check_network(atlas, net)
    if source.fingerprint() != atlas.image_set["fingerprint"]:
        raise BadInputError(f"{atlas.path.name} was built over other images than {source.name!r}; give those")
