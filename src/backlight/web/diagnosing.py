"""Diagnosing: the page of what is wrong with a network, each finding with a link to the maps that it accuses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from backlight.web import links
from backlight.web.contexts import Accused, DiagnosisPage, FindingView, KindView, Sprite, Unseen
from backlight.web.sheets import webp
from backlight.web.views import Views

if TYPE_CHECKING:
    from backlight.studies.diagnosis import Diagnosis, Finding

_COLUMNS = 8
MOST_OF_A_KIND, _MOST_ACCUSED = 48, 12
"""Findings of a kind that the page shows, and maps that it names of one; all are in the report."""


class Diagnosed:
    """What a diagnosis says of the network of an atlas.

    Args:
        views: What the site knows of the atlas.
        result: The diagnosis.
    """

    def __init__(self, views: Views, result: Diagnosis) -> None:
        self._views, self._result = views, result

    def page(self) -> DiagnosisPage:
        """Return the context of the page."""
        from backlight.studies.diagnosis import KINDS

        result, summary = self._result, self._result.summary()
        found = list(dict.fromkeys(own.kind for own in result.findings))
        others = [kind for kind in KINDS if kind not in found and summary[kind]["n_looked_for"]]
        return DiagnosisPage(
            site=self._views.site,
            is_own=result.network == self._views.atlas.model.name,
            diagnosed=result.network,
            n_looked_at=result.n_images,
            n_layers=len(result.layers),
            n_tests=result.n_looked_for,
            kinds=tuple(
                KindView(
                    title=KINDS[kind].title,
                    measure=KINDS[kind].measure,
                    to_try=KINDS[kind].to_try,
                    n_looked_for=summary[kind]["n_looked_for"],
                    n_found=summary[kind]["n_found"],
                    share=summary[kind]["share"],
                    findings=tuple(map(self._finding, result.of(kind)[:MOST_OF_A_KIND])),
                )
                for kind in (*found, *others)
            ),
            unseen=self._unseen(),
        )

    def _finding(self, own: Finding) -> FindingView:
        slug = self._views.slugs.get(own.layer)
        return FindingView(
            layer=own.layer,
            layer_href=None if slug is None else links.layer(slug),
            accused=tuple(Accused(c, self._href(own.layer, c)) for c in own.channels[:_MOST_ACCUSED]),
            says=own.says,
            null=own.null,
            value=own.value,
            low=own.low,
            high=own.high,
            p=own.p_corrected,
            picture=None if own.evidence is None else self._picture(own.evidence),
        )

    def _href(self, layer: str, channel: int) -> str | None:
        """Return the page of a feature map; None where the atlas does not show it."""
        slug = self._views.slugs.get(layer)
        shown: Sequence[int] = () if slug is None else self._views.atlas[layer].channels
        return links.feature_map(slug, shown.index(channel), channel) if slug and channel in shown else None

    def _picture(self, place: int) -> Sprite:
        n, side = self._result.pictures.shape[:2]
        row, col = divmod(place, _COLUMNS)
        width, height = min(n, _COLUMNS) * side, -(-n // _COLUMNS) * side
        return Sprite(
            links.dated(links.DIAGNOSED, self._version), width, height, col * side, row * side, side
        )

    @cached_property
    def _version(self) -> str:
        whole = self._result.pictures.tobytes() + self._views.version.encode()
        return hashlib.blake2b(whole, digest_size=5).hexdigest()

    def sheet(self) -> bytes:
        """Return the pictures of the findings, as WebP."""
        places = [self._picture(place) for place in range(len(self._result.pictures))]
        page = Image.new("RGB", (places[0].width, places[0].height))
        for place, picture in zip(places, self._result.pictures, strict=True):
            page.paste(Image.fromarray(picture), (place.left, place.top))
        return webp(page)

    @property
    def has_sheet(self) -> bool:
        """Whether any finding has a picture."""
        return len(self._result.pictures) > 0

    def _unseen(self) -> tuple[Unseen, ...]:
        """Return what could not be looked for: each reason once, with its layers."""
        from backlight.studies.diagnosis import KINDS

        return tuple(
            Unseen(KINDS[kind].title, layers, reason) for kind, layers, reason in self._result.reasons()
        )
