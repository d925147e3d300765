"""The named errors of Backlight.

Each derives from `BacklightError` and from the builtin that it is, and its text is one line: what was asked,
the rule, what was given, and what to do next. The command line prints that line and exits with 2 for bad input
(`BadInputError`) and 1 for work that failed; a warning is shown there as a note. Where what to do next is another call
in Python than on the command line, the error is given both, and each caller reads its own.
"""

import sys
import warnings


class _Advice:
    """A message with what to do next for each caller; the base of errors and warnings.

    Args:
        *message: What was asked, the rule and what was given; the whole line where the advice suits every caller.
        python: What to do next from Python; follows the message.
        command: What to do next on the command line, instead.

    Attributes:
        for_command_line: The line that the command line prints.

    Example:
        >>> error = BadInputError("no such layer", python="net.layers lists them", command="add --all to list them")
        >>> str(error), error.for_command_line
        ('no such layer; net.layers lists them', 'no such layer; add --all to list them')
    """

    args: tuple[object, ...]

    def __init__(self, *message: object, python: str | None = None, command: str | None = None) -> None:
        """Keep both texts; Python's is the error's own."""
        text = str(message[0]) if message else type(self).__name__
        super().__init__(*(message if python is None else (f"{text}; {python}",)))
        self._for_command_line = text if python is command is None else f"{text}; {command or python}"

    @property
    def for_command_line(self) -> str:
        """The line that the command line prints."""
        return self._for_command_line

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle it as it is, whatever its own `__init__` takes: errors come back from other processes."""
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[Exception], args: tuple[object, ...]) -> Exception:
    made = kind.__new__(kind, *args)
    made.args = args
    return made


class BacklightError(_Advice, Exception):
    """The base of every error that Backlight raises on purpose."""


class BadInputError(BacklightError, ValueError):
    """What the user gave cannot be used: an unknown name, a number out of range, a file of the wrong kind."""


class UnknownLayerError(BadInputError, KeyError):
    """A layer name that the network does not have."""

    def __str__(self) -> str:
        """Return the message itself: KeyError would show it in quotes."""
        return str(self.args[0]) if self.args else ""


class CaptureError(BadInputError):
    """A model that cannot be turned into a functional graph; names the line of its forward that stopped it."""


class UnsupportedOperatorError(BacklightError, NotImplementedError):
    """Operators on the path to the pixels that no rule covers; names each of them and where it stands."""


class WeightsError(BadInputError):
    """Weights that do not fit the model, or a weights file that cannot be read."""


class RemedyError(BadInputError):
    """A remedy that a network cannot be given without training; the text is the reason."""


class ImageError(BadInputError):
    """A picture that cannot be read as an image; the reason is short enough to be listed."""


class NoImageError(ImageError):
    """None of the pictures of a set can be read; names the first, and why."""


class ActivationError(BacklightError, ArithmeticError):
    """An activation that is not a number or not finite; names the layer and the image."""


class CompileError(BacklightError, RuntimeError):
    """The graph of a scan could not be compiled."""


class AtlasError(BadInputError):
    """A file that is not an atlas, or an atlas that does not belong to what was asked of it."""


class DamagedAtlasError(AtlasError):
    """An atlas that holds what no build writes: damage, or a file made to do harm.

    Attributes:
        finding: What is wrong where, without the file's name.
    """

    def __init__(self, message: str, finding: str) -> None:
        super().__init__(message)
        self.finding = finding


class MachineError(BacklightError, RuntimeError):
    """Another machine, or a process on it, that cannot do its part of the work, or died again and again."""


class StorageError(BacklightError, OSError):
    """A file that could not be written: a full disk, a folder without permission."""


class BacklightWarning(_Advice, UserWarning):
    """The base of every warning of Backlight: the result is correct, but may not be what you meant."""


class RangeWarning(BacklightWarning):
    """Pictures of more than 8 bits use little of the range that is taken for black to white, or leave it.

    Attributes:
        fact: What was seen.
        proposal: The range to give instead, (LOW, HIGH); None where the fact proposes nothing.
    """

    def __init__(self, fact: str, proposal: tuple[float, float] | None = None) -> None:
        """Take the fact and the proposal."""
        self.fact, self.proposal = fact, proposal
        if proposal is None:
            super().__init__(fact)
        else:
            python = f"pass Preprocessing(..., range=({_pair(proposal, ', ')}))"
            super().__init__(fact, python=python, command=f"give --range {_pair(proposal, ',')}")


def tell(warning: BacklightWarning) -> None:
    """Warn the user: the warning is attributed to the line that called Backlight, however deep inside it arose."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "backlight":
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level + 1)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class if it has none.

    Example:
        >>> first_line(ValueError("wrong size\\ndetails")), first_line(KeyError())
        ('wrong size', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _pair(values: tuple[float, float], between: str) -> str:
    return between.join(f"{value:.6g}" for value in values)


class CaptureWarning(BacklightWarning):
    """Something about a model that its owner should know: what it does in inference besides computing its output."""
