"""Models from the user's own code: a function, class or module in a Python file or package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from backlight.errors import BadInputError, first_line
from backlight.models.loaded import LoadedModel

_N_NAMES_SHOWN = 6


def from_callable(place: str, name: str, spec: str) -> LoadedModel:
    """Return the model that a function, class or module in a Python file or package gives.

    Args:
        place: A .py file, or the dotted name of a package that can be imported from the current folder.
        name: A function or class, called without arguments, or an nn.Module; may be dotted (`Class.method`).
        spec: What the user wrote, for messages.

    Raises:
        BadInputError: The file cannot be imported, the name does not exist, it needs arguments, it fails, or its
            result is not a torch.nn.Module. Names the line of the user's code.
    """
    with _imports_from_folder_of(place), _user_errors(spec):
        module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    found = _attribute(module, place, name, spec)
    if not isinstance(found, nn.Module):
        with _imports_from_folder_of(place), _user_errors(spec):
            found = _call(found, spec)
    if not isinstance(found, nn.Module):
        raise BadInputError(f"{spec} returned {_described(found)}, not a torch.nn.Module")
    return LoadedModel(found, None, False, spec)


def _call(make: Any, spec: str) -> Any:
    """Return the result of a callable without arguments."""
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(make).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # some builtins have no signature
        needed = []
    if needed:
        raise BadInputError(
            f"{spec} cannot be called without arguments (it needs {', '.join(needed)}); write a function that needs "
            "none and returns the model"
        )
    return make()


def _attribute(module: Any, place: str, name: str, spec: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if callable(found):
        return found
    offered = _possible_makers(module)
    if not name:
        raise _no_model(f"{place!r} alone does not name a model", place, offered)
    if found is not None:
        raise _no_model(f"{spec} is {_described(found)}, which cannot be called", place, offered)
    close = get_close_matches(name, offered, 3)
    raise _no_model(f"{place!r} has no callable {name!r}", place, close or offered)


def _no_model(fact: str, place: str, names: list[str]) -> BadInputError:
    if not names:
        return BadInputError(
            f"{fact}; write a function in it that returns the model, and name it as {place}:FUNCTION"
        )
    more = ", ..." if len(names) > _N_NAMES_SHOWN else ""
    return BadInputError(
        f"{fact}; it has {', '.join(names[:_N_NAMES_SHOWN])}{more}: write for example {place}:{names[0]}"
    )


def _possible_makers(module: Any) -> list[str]:
    """Return the names defined in a module that may give a model: functions and models first, then classes."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, nn.Module)
            or (callable(value) and getattr(value, "__module__", None) == module.__name__)
        )
    }
    return sorted(
        own, key=lambda name: not (inspect.isfunction(own[name]) or isinstance(own[name], nn.Module))
    )


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    name = (
        path.stem if path.stem not in sys.modules else f"{path.stem}_"
    )  # a user's file may be named json.py
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise BadInputError(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(found)
    # The module is registered only while it runs, so that two files of one name do not get into each other's way.
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        found.loader.exec_module(module)
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    return module


@contextmanager
def _imports_from_folder_of(place: str) -> Iterator[None]:
    """Let imports find modules beside a file, or else in the current folder; prints go to the error stream."""
    folder = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        with redirect_stdout(sys.stderr):  # the command's own output may be JSON for another program
            yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


@contextmanager
def _user_errors(spec: str) -> Iterator[None]:
    """Turn every error of the user's code into one line that says where it was raised."""
    try:
        yield
    except BadInputError:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or spec).name}:{error.lineno}"
        raise BadInputError(f"{spec}: {where}: {type(error).__name__}: {error.msg}") from error
    except SystemExit as error:
        raise BadInputError(
            f"{spec}: {_where_it_failed(error)}ends the program (sys.exit); "
            'move that under `if __name__ == "__main__":`'
        ) from error
    except Exception as error:
        raise BadInputError(
            f"{spec}: {_where_it_failed(error)}{type(error).__name__}: {first_line(error)}"
        ) from error


def _where_it_failed(error: BaseException) -> str:
    """Return the last line of the user's code in a traceback, as `model.py:3 in make: `; empty if there is none."""
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<"))
        and "site-packages" not in frame.filename
        and "importlib" not in frame.filename
    ]
    if not frames:
        return ""
    inside = f" in {frames[-1].name}" if frames[-1].name != "<module>" else ""
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}{inside}: "


def _described(value: Any) -> str:
    """Return what a value is, in words and with an article, and what to do about it."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__} (return an instance of it)"
    if isinstance(value, Mapping) and any(hasattr(v, "shape") for v in value.values()):
        return "a state dict (load it into a model, or give it with --weights)"
    if isinstance(value, (tuple, list)) and any(isinstance(v, nn.Module) for v in value):
        return f"a {type(value).__name__} with a model in it (return the model alone)"
    return f"a value of type {type(value).__name__}"
