"""What a caller may give as `progress`: nothing, a function, or True for bars, which are drawn while the work is done.

Bars are in `backlight.progress.bars`, which is imported when some are asked for: Rich takes its time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

Progress = Callable[[str, int, int], None]
"""Called with the phase (`scan`, `project`, ...), the number of things done, and the number of things in all."""

Watching = Progress | bool | None
"""How work is watched: True shows bars, or lines where no bar can move; a `Progress` is called; None shows nothing."""

P = ParamSpec("P")
R = TypeVar("R")


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing: what work calls where nobody listens."""


def as_progress(watching: Watching) -> Progress:
    """Return what work calls: the caller's function, or one that reports nothing."""
    return watching if callable(watching) else silent


def shows_progress(work: Callable[P, R]) -> Callable[P, R]:
    """Let a function with a `progress` parameter take True: bars are shown while it, or its generator, runs.

    Example:
        >>> @shows_progress
        ... def count(n: int, *, progress: Watching = None) -> None:
        ...     as_progress(progress)("sanity", n, n)
        >>> count(3, progress=print)
        sanity 3 3
    """
    signature = inspect.signature(work)

    def asks(args: Any, kwargs: Any) -> inspect.BoundArguments | None:
        """Return the arguments if bars are asked for; None leaves the call, and its errors, as they are."""
        if kwargs.get("progress") is not True and not any(own is True for own in args):
            return None
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return None
        return bound if bound.arguments.get("progress") is True else None

    @wraps(work)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = asks(args, kwargs)
        if bound is None:
            return work(*args, **kwargs)
        from backlight.progress.bars import watched

        with watched() as report:
            bound.arguments["progress"] = report
            return work(*bound.args, **bound.kwargs)

    @wraps(work)
    def shown_in_steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
        bound = asks(args, kwargs)
        if bound is None:
            yield from cast(Any, work)(*args, **kwargs)
            return
        from backlight.progress.bars import watched

        with watched() as report:
            bound.arguments["progress"] = report
            yield from cast(Any, work)(*bound.args, **bound.kwargs)

    return cast(Any, shown_in_steps) if inspect.isgeneratorfunction(work) else shown
