"""Advice: which rules the evidence in an atlas speaks for, layer by layer."""

from __future__ import annotations

from backlight.atlas.reader import Atlas
from backlight.errors import BadInputError
from backlight.operators.ruleset import RuleSet, parse_rules


def rules_by_evidence(atlas: Atlas, fingerprint: str) -> dict[str, RuleSet]:
    """Return for each layer of an atlas that was studied the rule set with the best evidence.

    Args:
        atlas: An atlas with evidence.
        fingerprint: Of the network that the rules are for (`Network.fingerprint`).

    Raises:
        BadInputError: The atlas is of another network, or has no evidence.
    """
    if atlas.model.fingerprint != fingerprint:
        raise BadInputError(
            f"{atlas.path.name} is of another model or other weights; give evidence for this one"
        )
    found = {y.name: parse_rules(y.evidence.best_rules) for y in atlas.layers if y.evidence is not None}
    if not found:
        raise BadInputError(
            f"{atlas.path.name} has no evidence yet",
            python="run studies.faithfulness on it and keep its result",
            command=f"run `backlight faithfulness {atlas.path.name}`",
        )
    return found
