"""Rules: how each class of operator passes a signal down, and the rewrite of the graph that applies them."""

from backlight.rules.reach import under_rules
from backlight.rules.rewrite import apply_rules
from backlight.rules.ruleset import DECONVNET, GRADIENT, GUIDED, RULE_SETS, RuleSet, parse_rules

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "RULE_SETS",
    "RuleSet",
    "apply_rules",
    "parse_rules",
    "under_rules",
]
