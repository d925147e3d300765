"""Evolving: the steps of a training on the pages of feature maps, where an evolution has followed them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.render.page import evenly_spread
from backlight.render.tiles import draw_values
from backlight.studies.evolution.labels import told_apart_steps
from backlight.web.contexts import Sprite, StepView
from backlight.web.sheets import TILE, webp

if TYPE_CHECKING:
    from backlight.studies.evolution.result import EvolutionResult

MOST_STEPS = 64
"""Steps that pages show; of more, as many evenly spread ones, the first and the last among them."""

_GREY = (128, 128, 128)


class Evolved:
    """What an evolution has seen of the feature maps that an atlas shows.

    Args:
        result: The evolution.
        atlas: The atlas.

    Attributes:
        channels: By layer, the maps that the evolution has followed and that the atlas shows, in order.

    Raises:
        BadInputError: There are none, or a layer has another number of maps.
    """

    def __init__(self, result: EvolutionResult, atlas: Atlas) -> None:
        self.result, self.channels = result, dict[str, tuple[int, ...]]()
        for own in result.layers:
            layer = atlas.get(own.name)
            if layer is None:
                continue
            if layer.n_maps != own.n_maps:
                raise BadInputError(
                    f"the evolution is of another architecture: its layer {own.name!r} has {own.n_maps} feature maps, "
                    f"that of the atlas {layer.n_maps}"
                )
            both = tuple(channel for channel in layer.channels if channel in own.channels)
            if both:
                self.channels[own.name] = both
        if not self.channels:
            raise BadInputError(
                "the evolution follows no feature map that the atlas shows",
                python="build the atlas with maps=None, which shows all",
                command="add the others with `backlight extend --maps all`, or follow more maps",
            )
        # the atlas is of the network as it was at this step
        self._own = {
            step for step, weights in enumerate(result.weights) if weights == atlas.model.fingerprint
        }

    @cached_property
    def identity(self) -> str:
        """What tells this evolution from others: a hash of the network's weights at each step, and of the images."""
        whole = repr(
            (self.result.fingerprint, self.result.steps, self.result.weights, self.channels)
        ).encode()
        return hashlib.blake2b(whole, digest_size=5).hexdigest()

    @cached_property
    def _rows(self) -> list[int]:
        """The steps that pages show."""
        return evenly_spread(range(len(self.result.steps)), MOST_STEPS)

    @cached_property
    def _short(self) -> list[str]:
        """The labels of all steps, without what they have in common."""
        return told_apart_steps(self.result.steps)

    def followed(self, name: str, channels: Sequence[int]) -> list[int]:
        """Return which feature maps of a layer are followed."""
        return [channel for channel in channels if channel in self.channels.get(name, ())]

    def steps(self, name: str, channel: int, on_page: Sequence[int], href: str) -> tuple[StepView, ...]:
        """Return the steps of a feature map; none where it is not followed.

        Args:
            name: Its layer.
            channel: The map.
            on_page: The maps of its page.
            href: The address of the page's sheet.
        """
        followed = self.followed(name, on_page)
        if channel not in followed:
            return ()
        result, column, at = self.result, self.result.column(name, channel), followed.index(channel)
        size = len(self._rows) * TILE, len(followed) * TILE
        ids, found, before = result.image_ids[:, column], [], None
        for place, row in enumerate(self._rows):
            image_id = int(ids[row])
            path = result.paths.get(str(image_id), "")
            found.append(
                StepView(
                    step=result.steps[row],
                    short=self._short[row],
                    value=float(result.values[row, column]),
                    file=PurePosixPath(path).name,
                    is_active=image_id >= 0,
                    is_other=before is not None and image_id != before,
                    is_atlas=row in self._own,
                    projection=Sprite(href, *size, place * TILE, at * TILE, TILE),
                )
            )
            before = image_id
        return tuple(found)

    def sheet(self, name: str, on_page: Sequence[int]) -> bytes:
        """Return the projections of the maps of a page, a row for each map that is followed, as WebP."""
        followed, result = self.followed(name, on_page), self.result
        page = Image.new("RGB", (len(self._rows) * TILE, len(followed) * TILE), _GREY)
        for at, channel in enumerate(followed):
            for place, row in enumerate(self._rows):
                values = result.projection(result.steps[row], name, channel)
                drawn = draw_values(values, TILE)
                left, top = ((TILE - side) // 2 for side in drawn.size)
                page.paste(drawn, (place * TILE + left, at * TILE + top))
        return webp(page)
