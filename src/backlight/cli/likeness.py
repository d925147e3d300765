"""What `backlight invert --atlas` says of a maximised picture: whether the map's hits excite the unit in that way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from backlight.atlas import Atlas, open_atlas
from backlight.cli.models import why_no_store_is_asked
from backlight.cli.output import say
from backlight.errors import BadInputError
from backlight.images import ImageSource, is_address, open_images
from backlight.inversion import Inversion, Likeness, likeness_of
from backlight.inversion.likeness import LEAST_HITS
from backlight.network import Network
from backlight.projection import Unit
from backlight.studies.checks import check_belongs
from backlight.studies.projected import inputs_of_hits
from backlight.studies.subjects import Subject

_N_SHOWN = 5


@dataclass(frozen=True, eq=False)
class NaturalHits:
    """The hits of an atlas that maximised pictures are compared with.

    Attributes:
        net: The captured network.
        atlas: An atlas of it.
        source: The atlas's images.
    """

    net: Network
    atlas: Atlas
    source: ImageSource

    @classmethod
    def read(cls, path: Path, net: Network, units: Sequence[Unit]) -> NaturalHits:
        """Return the hits of an atlas, which must have enough of them for each unit's map.

        Raises:
            BadInputError: The atlas was built with another network, does not know its images or names an address as
                them, or has not these maps.
            UnknownLayerError: The atlas has not this layer.
        """
        atlas = open_atlas(path)
        images = atlas.origin.get("images")
        if images is None:
            raise BadInputError(f"{path.name} was built from Python and does not know its images")
        if is_address(images):
            raise BadInputError(
                f"{why_no_store_is_asked(atlas, images)}; rerun its `backlight build` on a copy on this machine"
            )
        source = open_images(images)
        check_belongs(atlas, net, source)
        found = cls(net, atlas, source)
        for unit in units:
            n_hits = len(found.subjects(unit))
            if n_hits < LEAST_HITS:
                raise BadInputError(
                    f"map {unit.channel} of layer {unit.layer!r} has {n_hits} hits in {path.name}, and a picture is "
                    f"compared with at least {LEAST_HITS}; build an atlas with --maps all over more images"
                )
        return found

    def subjects(self, unit: Unit) -> list[Subject]:
        """Return the hits of a unit's map, strongest first."""
        layer, crop = self.atlas[unit.layer], self.atlas.preprocessing.crop
        if unit.channel not in layer.channels:
            return []
        return [
            Subject(
                Unit(layer.name, unit.channel, hit.row, hit.col),
                hit.image_id,
                hit.rank,
                hit.box,
                hit.box.clip(*crop),
            )
            for hit in layer[unit.channel].hits
        ]

    def say_likeness(self, result: Inversion, unit: Unit) -> None:
        """Say whether the best maximised picture excites its unit as the map's hits do."""
        if not -result.goals[result.best] > 0:  # it stays silent, which the summary says
            return
        subjects = self.subjects(unit)
        hits = torch.stack(inputs_of_hits(self.net, self.source, subjects))
        picture = torch.from_numpy(result.images[result.best])
        found = likeness_of(self.net, picture, unit, hits, [subject.unit for subject in subjects])
        _say(found)


def middle(net: Network, layer: str, channel: int) -> Unit:
    """Return the unit of a map that is maximised: the one in the middle."""
    own = net.layer(layer)
    if not own.is_spatial:
        return Unit(own.name, channel)
    return Unit(own.name, channel, own.shape[1] // 2, own.shape[2] // 2)


def _say(found: Likeness) -> None:
    least, name = found.least, f"{found.unit.layer}, map {found.unit.channel}"
    if least is None:
        return
    if not found.is_unlike:
        say(
            "[bold]{}[/]: like its {} hits: maps that are silent in all of them carry at most {} of it",
            *(name, found.n_hits, f"{least.carried:.0%}"),
        )
        return
    shown = ", ".join(map(str, least.silent[:_N_SHOWN])) + (", …" if len(least.silent) > _N_SHOWN else "")
    say(
        "[bold]{}[/]: [yellow]unlike all of its {} hits[/]: {} of it is carried by maps of {} that are silent in every "
        "hit ({}); the picture may not show what the map responds to in images",
        *(name, found.n_hits, f"{least.carried:.0%}", least.layer, shown),
    )
