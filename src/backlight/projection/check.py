"""Checking before any work that units of some layers can be projected by some rules."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backlight.errors import BacklightError, UnsupportedOperatorError, first_line
from backlight.network import Layer, Network
from backlight.network.fold import fold_batch_norms
from backlight.operators.reading import operator_name
from backlight.operators.ruleset import RuleSet
from backlight.projection.backward import Backward
from backlight.projection.rewrite import apply_rules


def check_rules(net: Network, layers: Sequence[Layer], rules: RuleSet) -> None:
    """Raise UnsupportedOperatorError unless units of these layers can be projected by these rules.

    Two units of every layer are projected on the device `meta`, which computes no values, so this takes a fraction of
    a forward pass. Only where an operator does not run there, an image of zeros is projected for real.

    Args:
        net: The captured network.
        layers: The layers, at least one.
        rules: How a signal is passed back.
    """
    walk = Backward(fold_batch_norms(apply_rules(net, layers, rules)))
    try:
        walk.rehearse(torch.zeros(1, *net.input_shape, dtype=net.dtype, device="meta"))
        return
    except BacklightError:
        raise
    except Exception:  # an operator without a shape rule, or a tensor that the model makes on another device
        pass
    try:
        walk.rehearse(torch.zeros(1, *net.input_shape, dtype=net.dtype, device=net.device))
    except (BacklightError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = first_line(error)
        raise UnsupportedOperatorError(
            f"a {rules.name} projection cannot pass {operator_name(walk.at)} at {net.where(walk.at)} ({reason}); "
            "choose a layer below it"
        ) from error
