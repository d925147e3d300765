"""The named errors of Backlight.

Each derives from `BacklightError` and from the builtin that it is, and its text is one line: what was asked,
the rule, what came, and what to do next. The command line prints that line and exits with 2 for bad input
(`BadInputError`) and 1 for work that failed. A warning is shown there as a note.
"""


class BacklightError(Exception):
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


class ImageError(BadInputError):
    """A picture that cannot be read as an image; the reason is short enough to be listed."""


class ActivationError(BacklightError, ArithmeticError):
    """An activation that is not a number or not finite; names the layer and the image."""


class CompileError(BacklightError, RuntimeError):
    """The graph of a scan could not be compiled."""


class AtlasError(BadInputError):
    """A file that is not an atlas, or an atlas that does not belong to what was asked of it."""


class StorageError(BacklightError, OSError):
    """A file that could not be written: a full disk, a folder without permission."""


class CaptureWarning(UserWarning):
    """Something of a model that its owner should know: what it does in inference besides answering."""
