"""Bounds for a build server: how much of a network may have a finding before the diagnosis fails."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backlight.errors import BadInputError
from backlight.studies.diagnosis.result import Diagnosis, check_kind

_FORM = re.compile(r"\s*(?P<kind>\w+)\s*>\s*(?P<share>[0-9.]+)\s*(?P<percent>%?)\s*")


@dataclass(frozen=True)
class Bound:
    """How much of a network may have a finding.

    Attributes:
        kind: One of `KINDS`.
        share: The largest share of the maps that may have it, 0 to 1.
    """

    kind: str
    share: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Return the bound that a text such as `dead>0.2` names: fail if more than 20 % of the maps are dead.

        Raises:
            BadInputError: It has another form, or names no kind of finding.

        Example:
            >>> Bound.parse("dead>0.2"), Bound.parse("loud > 5%")
            (Bound(kind='dead', share=0.2), Bound(kind='loud', share=0.05))
        """
        match = _FORM.fullmatch(text)
        try:
            share = float(match["share"]) / (100 if match["percent"] else 1) if match else -1.0
        except ValueError:
            share = -1.0
        if match is None or not 0 <= share <= 1:
            raise BadInputError(
                f"a bound is a kind of finding and a share of the feature maps, such as 'dead>0.2', got {text!r}"
            )
        check_kind(match["kind"])
        return cls(match["kind"], share)

    def broken_by(self, result: Diagnosis) -> str | None:
        """Return how a diagnosis breaks the bound, in a line; None where it keeps it.

        *Convention*: what could not be looked for in any layer breaks the bound too, since nobody knows.
        """
        share = result.share(self.kind)
        reasons = {own.layer: own.reason for own in result.lacking if own.kind == self.kind}
        if share is not None and share > self.share:
            return f"{self.kind}>{self.share:g} is broken: {share:.1%} of the feature maps have this finding"
        if share is None or (reasons and set(reasons) >= set(result.layers)):
            reason = next(iter(reasons.values()), "it was not looked for")
            return f"{self.kind}>{self.share:g} cannot be checked: {reason}"
        return None
