"""Rule sets: plain data that says how each class of operator passes a signal down."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args, get_type_hints

from backlight.errors import BadInputError


@dataclass(frozen=True)
class RuleSet:
    """How a signal r goes down through each class of operator.

    Attributes:
        name: What the rule set is called in files and captions.
        rectifier: `deconvnet` max(r, 0), whatever the unit did on the way up; `guided` max(r, 0) where the
            rectifier's slope is positive; `gradient` r times the slope; `identity` r.
        unpool: Where two overlapping windows chose the same place: `add`, `assign-largest` (the largest
            magnitude stays; of +a and -a the positive), `assign-last` (the last window in raster order stays).
        average_pool: `fill` copies the value to all positions of its window, `transpose` gives each value/n.
        lrn: Local response normalisation y = x / d: `identity` r, `frozen` r/d, `inverse` r*d, `vjp` the
            derivative.
        leaky: A leaky rectifier under `deconvnet`: `relu` max(r, 0), `literal` the same leaky function of r.
        gates: `frozen` holds the factor of a product, a norm's scale and attention weights fixed; `vjp`
            differentiates through them.
        squash: sigmoid, tanh or softmax on the path itself: `error` refuses (seed what is below it instead),
            `gradient` r times the slope, `identity` r.

    *Source*: docs/rules.md. *Differs*: Zeiler & Fergus name neither overlapping windows nor what
    happens at average pooling and contrast normalisation.
    """

    name: str
    rectifier: Literal["deconvnet", "guided", "gradient", "identity"] = "deconvnet"
    unpool: Literal["add", "assign-largest", "assign-last"] = "add"
    average_pool: Literal["fill", "transpose"] = "fill"
    lrn: Literal["identity", "frozen", "inverse", "vjp"] = "identity"
    leaky: Literal["relu", "literal"] = "relu"
    gates: Literal["frozen", "vjp"] = "frozen"
    squash: Literal["error", "gradient", "identity"] = "error"

    def __post_init__(self) -> None:
        """Refuse values that an option does not have."""
        for field in fields(self)[1:]:
            _check_option(field.name, getattr(self, field.name))

    @property
    def is_plain_gradient(self) -> bool:
        """Whether every operator passes its exact derivative, so that none can lack a rule."""
        return self == replace(GRADIENT, name=self.name)

    def to_dict(self) -> dict[str, str]:
        """Return the options as plain JSON."""
        return asdict(self)


def _check_option(name: str, value: str) -> None:
    allowed = get_args(get_type_hints(RuleSet)[name])
    if value not in allowed:
        raise BadInputError(
            f"rule option {name}={value!r} does not exist; choose one of {', '.join(allowed)}"
        )


DECONVNET = RuleSet("deconvnet")
"""Zeiler & Fergus (2013): rectify the signal, not by the forward mask; average pooling fills."""

GUIDED = RuleSet("guided", rectifier="guided")
"""Springenberg et al. (2014): the signal passes where it is positive and the rectifier was open."""

GRADIENT = RuleSet(
    "gradient",
    rectifier="gradient",
    average_pool="transpose",
    lrn="vjp",
    leaky="literal",
    gates="vjp",
    squash="gradient",
)
"""The exact derivative of the unit, times its activation (Simonyan et al., 2013).

It differs from the others not at the rectifier only: a control called `gradient` that froze gates or filled average
pools would be no gradient.
"""

RULE_SETS = {rules.name: rules for rules in (DECONVNET, GUIDED, GRADIENT)}


def parse_rules(text: str) -> RuleSet:
    """Return the rule set that a text such as `deconvnet,unpool=assign-largest` describes.

    Raises:
        BadInputError: An unknown rule set, option or value.
    """
    name, *options = (part.strip() for part in text.split(","))
    if name not in RULE_SETS:
        raise BadInputError(f"rule set {name!r} does not exist; choose one of {', '.join(RULE_SETS)}")
    if not options:
        return RULE_SETS[name]
    known = [field.name for field in fields(RuleSet)[1:]]
    changes = {}
    for option in options:
        key, _, value = option.partition("=")
        key = key.strip().replace("-", "_")
        if key not in known:
            raise BadInputError(f"rule option {key!r} does not exist; choose one of {', '.join(known)}")
        changes[key] = value.strip()
        _check_option(key, changes[key])
    return replace(RULE_SETS[name], name=",".join([name, *options]), **changes)  # type: ignore[arg-type]
