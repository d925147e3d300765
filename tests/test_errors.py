"""Errors: what each is, what it advises each caller, and to whose line a warning is attributed."""

from __future__ import annotations

import pickle
from inspect import unwrap

import pytest

from backlight import errors
from backlight.errors import (
    BacklightError,
    BacklightWarning,
    BadInputError,
    CaptureWarning,
    DamagedAtlasError,
    RangeWarning,
    UnknownLayerError,
    first_line,
    tell,
)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("BadInputError", ValueError),
        ("UnknownLayerError", KeyError),
        ("CaptureError", ValueError),
        ("UnsupportedOperatorError", NotImplementedError),
        ("WeightsError", ValueError),
        ("RemedyError", ValueError),
        ("ImageError", ValueError),
        ("ActivationError", ArithmeticError),
        ("CompileError", RuntimeError),
        ("AtlasError", ValueError),
        ("MachineError", RuntimeError),
        ("StorageError", OSError),
    ],
)
def test_each_error_is_caught_as_ours_and_as_the_builtin_that_it_is(
    name: str, builtin: type[Exception]
) -> None:
    for kind in (BacklightError, builtin):
        with pytest.raises(kind, match=r"^no such thing; look elsewhere$"):
            raise getattr(errors, name)("no such thing", python="look elsewhere")


@pytest.mark.parametrize("kind", [BadInputError, UnknownLayerError, CaptureWarning])
@pytest.mark.parametrize(
    ("advice", "in_python", "on_the_command_line"),
    [
        ({}, "wrong", "wrong"),
        ({"python": "call f"}, "wrong; call f", "wrong; call f"),
        ({"command": "run g"}, "wrong", "wrong; run g"),
        ({"python": "call f", "command": "run g"}, "wrong; call f", "wrong; run g"),
    ],
)
def test_each_caller_reads_its_own_advice(
    kind: type[BadInputError], advice: dict[str, str], in_python: str, on_the_command_line: str
) -> None:
    error = kind("wrong", **advice)
    assert (str(error), error.for_command_line) == (in_python, on_the_command_line)


def test_an_error_without_a_message_is_called_by_its_class() -> None:
    assert BadInputError().for_command_line == "BadInputError"
    assert str(UnknownLayerError()) == ""


def test_a_damaged_atlas_keeps_what_is_wrong_apart_from_the_files_name() -> None:
    error = DamagedAtlasError("a.atlas is damaged (table hit)", "table hit")
    assert (str(error), error.finding) == ("a.atlas is damaged (table hit)", "table hit")


def calls_of(module: str, file: str) -> dict[str, object]:
    """Return the names of a module whose function `outer` warns two calls further in, on line 2."""
    names: dict[str, object] = {
        "__name__": module,
        "tell": unwrap(tell),
    }  # without the type checker of the tests
    code = "def inner(warning):\n    tell(warning)\ndef outer(warning):\n    inner(warning)\n"
    exec(compile(code, file, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("module", "is_ours"), [("backlight", True), ("backlight.a.b", True), ("backlight_demo", False)]
)
def test_a_warning_is_attributed_to_the_line_that_called_backlight(module: str, is_ours: bool) -> None:
    names = calls_of(module, "inside.py")
    with pytest.warns(BacklightWarning, match="look at this") as caught:
        names["outer"](CaptureWarning("look at this"))
    (warning,) = caught
    if is_ours:
        assert warning.filename == __file__
    else:
        assert (warning.filename, warning.lineno) == ("inside.py", 2)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n\n  wrong size \nand more"), "wrong size"),
        (ValueError(" \n"), "ValueError"),
        (OSError(), "OSError"),
    ],
)
def test_the_first_line_of_an_error_is_its_first_words_or_its_class(error: Exception, line: str) -> None:
    assert first_line(error) == line


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_from_another_process_as_it_was(kind: type[Exception]) -> None:
    if kind is DamagedAtlasError:
        error: Exception = DamagedAtlasError("'a.atlas' is damaged", "a value")
    elif kind is RangeWarning:
        error = RangeWarning("dark", (0.0, 4095.0))
    else:
        error = kind("wrong", python="call f", command="run g")  # type: ignore[call-arg]
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert arrived.for_command_line == error.for_command_line  # type: ignore[attr-defined]
