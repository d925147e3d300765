"""Models of one's own: what a Python file or package calls a function, a class or a module of that name."""

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

from backlight.errors import BadInputError
from backlight.models.loaded import LoadedModel, first_line

_N_NAMED = 6


def from_callable(place: str, name: str, spec: str) -> LoadedModel:
    """Return the model that a name in a Python file or package gives.

    Args:
        place: A .py file, or the dotted name of a package that can be imported from here.
        name: A function or class that is called without arguments, or a module itself; dots reach into it.
        spec: What the user wrote, for messages.

    Raises:
        BadInputError: The file cannot be imported, there is no such name, it needs arguments, it fails, or what it
            gives is no torch.nn.Module. Names the line of the user's code.
    """
    with _own_folder(place), _failures(spec):
        module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    found = _attribute(module, place, name, spec)
    if not isinstance(found, nn.Module):
        with _own_folder(place), _failures(spec):
            found = _call(found, spec)
    if not isinstance(found, nn.Module):
        raise BadInputError(f"{spec} returned {_described(found)}, not a torch.nn.Module")
    return LoadedModel(found, None, False, spec)


def _call(make: Any, spec: str) -> Any:
    """Return what a callable gives without arguments."""
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(make).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # some of Python's own have no signature
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
    offered = _offered(module)
    if not name:
        return _refuse(f"{place!r} alone names no model", place, offered)
    if found is not None:
        return _refuse(f"{spec} is {_described(found)}, which cannot be called", place, offered)
    return _refuse(
        f"{place!r} has no callable {name!r}", place, get_close_matches(name, offered, 3) or offered
    )


def _refuse(fact: str, place: str, names: list[str]) -> None:
    more = ", ..." if len(names) > _N_NAMED else ""
    if names:
        raise BadInputError(
            f"{fact}; it has {', '.join(names[:_N_NAMED])}{more}: write for instance {place}:{names[0]}"
        )
    raise BadInputError(
        f"{fact}; write a function in it that returns the model, and name it as {place}:FUNCTION"
    )


def _offered(module: Any) -> list[str]:
    """Return the names that a module defines itself and that may give a model; those of nn.Module first."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or (callable(value) and _home(value) == module.__name__))
    }
    return sorted(
        own, key=lambda name: not (inspect.isfunction(own[name]) or isinstance(own[name], nn.Module))
    )


def _home(value: Any) -> str | None:
    home: str | None = getattr(value, "__module__", None)
    return home


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_"  # a file may be called json.py
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise BadInputError(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(found)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        found.loader.exec_module(module)
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    return module


@contextmanager
def _own_folder(place: str) -> Iterator[None]:
    """Let imports see the folder of a file, or else the current one; what is printed goes to the error stream."""
    folder = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        with redirect_stdout(sys.stderr):  # the output may be JSON that another program reads
            yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


@contextmanager
def _failures(spec: str) -> Iterator[None]:
    """Turn what fails in the user's code into one line with the place where it failed."""
    try:
        yield
    except BadInputError:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or spec).name}:{error.lineno}"
        raise BadInputError(f"{spec}: {where}: {type(error).__name__}: {error.msg}") from error
    except SystemExit as error:
        raise BadInputError(
            f'{spec}: {_where(error)}ends the program (sys.exit); keep that under `if __name__ == "__main__":`'
        ) from error
    except Exception as error:
        raise BadInputError(f"{spec}: {_where(error)}{type(error).__name__}: {first_line(error)}") from error


def _where(error: BaseException) -> str:
    """Return the last line of the user's code in a traceback, as `model.py:3 in make: `."""
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
    """Return in words what a value is, with its article."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__} (return an instance of it)"
    if isinstance(value, Mapping) and any(hasattr(v, "shape") for v in value.values()):
        return "a state dict (put it into a model, or give it with --weights)"
    if isinstance(value, (tuple, list)) and any(isinstance(v, nn.Module) for v in value):
        return f"a {type(value).__name__} with a model in it (return the model alone)"
    return f"a value of type {type(value).__name__}"
