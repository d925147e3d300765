"""Why weights do not fit a model, in one line: the tensors and the likely reason."""

from __future__ import annotations

from torch import Tensor

from backlight.models.fitting import Fit


def explain_misfit(fit: Fit) -> str:
    """Return which tensors do not fit, the likely reason, and what to do."""
    own, missing, reshaped = fit.own, fit.missing, fit.reshaped
    if not own:
        return "the model has no tensors at all"
    # If hardly any tensor fits, a list of the missing ones would not help.
    if len(fit.found) - len(reshaped) < 0.2 * len(own) and missing:
        return (
            f"{_first(missing, 'is', 'are')} missing; the file has {_quoted(list(fit.state.tensors))}: it belongs to "
            "another architecture; give the MODEL that it belongs to"
        )
    problems = []
    if reshaped:
        problems.append("; ".join(_shapes(name, fit) for name in reshaped[:2]) + _more(reshaped, 2))
    if missing:
        problems.append(f"{_first(missing, 'is', 'are')} missing")
    if fit.deeper:
        problems.append(f"{_first(fit.deeper, 'is', 'are')} not part of the model")
    return f"{', '.join(problems)}: {_likely_reason(fit)}"


def head_rows(fit: Fit) -> int | None:
    """Return the number of classes in a file that differs from the model in nothing else; otherwise None."""
    if fit.missing or fit.deeper or not fit.reshaped:
        return None
    rows = set()
    for name in fit.reshaped:
        mine, theirs = fit.own[name].shape, fit.found[name].shape
        if not theirs or len(mine) != len(theirs) or mine[1:] != theirs[1:]:
            return None
        rows.add(int(theirs[0]))
    return rows.pop() if len(rows) == 1 else None


def _likely_reason(fit: Fit) -> str:
    reshaped, missing = fit.reshaped, fit.missing
    if (classes := head_rows(fit)) is not None and len(reshaped) <= 6:
        rows = fit.own[reshaped[0]].shape[0]
        return (
            f"the file has {classes} classes, the model has {rows}; make the model with {classes} classes, "
            "for example in a model.py"
        )
    if reshaped and not missing and _only_inputs(fit):
        return "the file has another number of input channels; make the model with that number"
    if reshaped:
        return "the file belongs to a model of another width or variant; give the MODEL that it belongs to"
    if fit.deeper:
        return "the file belongs to a larger model of this kind; give the MODEL that it belongs to"
    # Is everything that is missing in the model's last part, of which the file has nothing?
    parts = {name.partition(".")[0] for name in missing}
    last = list(fit.own)[-1].partition(".")[0]
    if parts == {last} and not any(k.partition(".")[0] == last for k in fit.found):
        return (
            f"the file has no {last!r}, like a backbone saved without its head; make the model without it, "
            "for example in a model.py"
        )
    return "the file belongs to a smaller model of this kind, or is incomplete; give the MODEL that it belongs to"


def _only_inputs(fit: Fit) -> bool:
    """Return whether only one tensor differs, and only in its number of input channels."""
    (name, *others) = fit.reshaped
    mine, theirs = fit.own[name].shape, fit.found[name].shape
    return not others and len(mine) == len(theirs) == 4 and mine[0] == theirs[0] and mine[2:] == theirs[2:]


def _shapes(name: str, fit: Fit) -> str:
    return f"{name!r} is {_shape_in_words(fit.found[name])}, the model has {_shape_in_words(fit.own[name])}"


def _first(names: list[str], one: str, several: str) -> str:
    """Return how many tensors there are, the first of them, and the verb in agreement."""
    if len(names) == 1:
        return f"{names[0]!r} {one}"
    return f"{len(names)} tensors (first {names[0]!r}) {several}"


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names[:2])) + (", ..." if len(names) > 2 else "")


def _shape_in_words(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
