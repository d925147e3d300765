"""Rule sets: plain data that says how each class of operator passes a signal back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, TypeVar, get_args, get_type_hints, overload

from backlight.errors import BadInputError


@dataclass(frozen=True)
class RuleSet:
    """How a signal r is passed back through each class of operator.

    Two rule sets are equal if all of their options are, whatever they are called.

    Attributes:
        name: What the rule set is called in files and captions.
        rectifier: `deconvnet` max(r, 0), whatever the unit did in the forward pass; `guided` max(r, 0) where the
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
        masked_levels: At how many levels of rectifiers, counted from the network's top, `guided` takes the place of
            `deconvnet`: there the signal also passes the mask of the forward pass.

    *Source*: docs/rules.md. *Differs*: Zeiler & Fergus name neither overlapping windows nor what
    happens at average pooling and contrast normalisation.
    """

    name: str = field(compare=False)
    rectifier: Literal["deconvnet", "guided", "gradient", "identity"] = "deconvnet"
    unpool: Literal["add", "assign-largest", "assign-last"] = "add"
    average_pool: Literal["fill", "transpose"] = "fill"
    lrn: Literal["identity", "frozen", "inverse", "vjp"] = "identity"
    leaky: Literal["relu", "literal"] = "relu"
    gates: Literal["frozen", "vjp"] = "frozen"
    squash: Literal["error", "gradient", "identity"] = "error"
    masked_levels: int = 0

    def __post_init__(self) -> None:
        """Refuse values that an option does not have."""
        for option in OPTIONS:
            _check_option(option, getattr(self, option))

    @property
    def is_plain_gradient(self) -> bool:
        """Whether every operator passes its exact derivative, so that none can lack a rule."""
        return self == GRADIENT

    @property
    def spelled(self) -> str:
        """The text that `parse_rules` reads as these rules: a base, then the options that differ from it, in order.

        *Convention*: the base is the set that the name begins with, else the one with the fewest options to change.
        """
        options = {base: _differing(self, rules) for base, rules in RULE_SETS.items()}
        named = self.name.partition(",")[0].strip()
        base = named if named in options else min(options, key=lambda known: len(options[known]))
        return ",".join([base, *(f"{option}={getattr(self, option)}" for option in options[base])])

    def to_dict(self) -> dict[str, str | int]:
        """Return the options as plain JSON; `masked_levels` only where there are any, as older atlases know none."""
        return {name: value for name, value in asdict(self).items() if name != "masked_levels" or value}


OPTIONS = tuple(option.name for option in fields(RuleSet)[1:])
"""The names of a rule set's options, in the order in which a text gives them."""


def _differing(rules: RuleSet, other: RuleSet) -> list[str]:
    return [option for option in OPTIONS if getattr(rules, option) != getattr(other, option)]


def _check_option(name: str, value: str | int) -> None:
    hint = get_type_hints(RuleSet)[name]
    if hint is int:
        is_allowed = type(value) is int and value >= 0
        allowed = "0, 1, 2, …"
    else:
        is_allowed = value in get_args(hint)
        allowed = ", ".join(get_args(hint))
    if not is_allowed:
        raise BadInputError(f"rule option {name}={value!r} does not exist; choose one of {allowed}")


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

MASKED = RuleSet("masked", masked_levels=6)
"""The deconvnet, with the forward mask at the rectifiers of the top six levels of the network; no paper's rule.

Without any mask the signal of a late unit spreads over all that its field holds. The masks of the topmost levels keep
it where the image made the network active (docs/evidence.md has the measurements).
"""

RULE_SETS = {rules.name: rules for rules in (DECONVNET, GUIDED, GRADIENT, MASKED)}


def parse_rules(text: str) -> RuleSet:
    """Return the rule set that a text such as `deconvnet,unpool=assign-largest` describes.

    *Convention*: whatever the spelling (spaces, dashes for underscores, order, options that change nothing), equal
    rules of one base get one name: `spelled`.

    Raises:
        BadInputError: An unknown rule set, option or value.

    Example:
        >>> import backlight
        >>> backlight.parse_rules("guided, average_pool=transpose").name
        'guided,average_pool=transpose'
    """
    name, *options = (part.strip() for part in text.split(","))
    if name not in RULE_SETS:
        raise BadInputError(f"rule set {name!r} does not exist; choose one of {', '.join(RULE_SETS)}")
    changes: dict[str, str | int] = {}
    for option in options:
        key, _, value = option.partition("=")
        key = key.strip().replace("-", "_")
        if key not in OPTIONS:
            raise BadInputError(f"rule option {key!r} does not exist; choose one of {', '.join(OPTIONS)}")
        value = value.strip().replace("_", "-")
        changes[key] = int(value) if key == "masked_levels" and value.isdecimal() else value
        _check_option(key, changes[key])
    found = replace(RULE_SETS[name], **changes)  # type: ignore[arg-type]
    return RULE_SETS[name] if found == RULE_SETS[name] else replace(found, name=found.spelled)


_Key = TypeVar("_Key")


@overload
def as_rules(given: RuleSet | str) -> RuleSet: ...


@overload
def as_rules(given: RuleSet | str | Mapping[_Key, RuleSet | str]) -> RuleSet | dict[_Key, RuleSet]: ...


def as_rules(given: RuleSet | str | Mapping[_Key, RuleSet | str]) -> RuleSet | dict[_Key, RuleSet]:
    """Return the rule set that was given, of a text the one that it describes; of a mapping each of its values.

    Raises:
        BadInputError: An unknown rule set, option or value, or something else.

    Example:
        >>> as_rules("guided") == as_rules(GUIDED), as_rules({"relu1": "guided"})["relu1"].name
        (True, 'guided')
    """
    if isinstance(given, RuleSet):
        return given
    if isinstance(given, str):
        return parse_rules(given)
    if isinstance(given, Mapping) and all(isinstance(own, RuleSet | str) for own in given.values()):
        return {key: as_rules(own) for key, own in given.items()}
    raise BadInputError(
        f"rules are a RuleSet (DECONVNET, GUIDED), a text such as 'guided', or one of these by layer, "
        f"got {type(given).__name__}"
    )
