"""By other rules: the hits of an atlas as its other rule sets project them, on the pages of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from backlight.atlas import Atlas
from backlight.web.contexts import RulesView
from backlight.web.sheets import KINDS, Sheet, draw_sheet, margin


class ByRules:
    """An atlas under each of its rule sets but the one that pages show.

    Args:
        atlas: The atlas.
    """

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._margins: dict[tuple[str, int], int] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of these rule sets."""
        return tuple(name for name in self._atlas.rule_sets if name != self._atlas.rules.name)

    @cached_property
    def _shown(self) -> tuple[Atlas, ...]:
        return tuple(self._atlas.under(name) for name in self.names)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of sheets, one for each rule set."""
        return tuple(f"rules{i}" for i in range(len(self.names)))

    def views(self, sheet: Sheet, place: int) -> tuple[RulesView, ...]:
        """Return what a map's page shows of it: the map is at a place of a page of maps with hits."""
        return tuple(
            RulesView(name, sheet.block(kind, place))
            for name, kind in zip(self.names, self.kinds, strict=True)
        )

    def sheet(self, layer: str, channels: Sequence[int], kind: str) -> bytes:
        """Return the projections of feature maps of a layer by one of the rule sets, as WebP."""
        at = self.kinds.index(kind)
        own = self._shown[at][layer]
        if (layer, at) not in self._margins:
            self._margins[layer, at] = margin(own)
        return draw_sheet(own, channels, KINDS[0], self._margins[layer, at])
