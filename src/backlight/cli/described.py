"""What a command takes, read from its function: for its help and for the reference in the documentation.

Typer prints help of its own, which looks another way with each release; ours is the same with all of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

OPTIONS = "Options"
_METAVARS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a command.

    Attributes:
        names: What is typed: `-o` and `--output`; of an argument, what stands for it: `MODEL`.
        value: What stands for the value of an option: `PATH`; empty for a flag, and for an argument.
        help: What it is.
        default: What it is unless it is given, as it is typed; None where that is nothing, or stands in the help.
        is_required: Whether it must be given.
        repeats: Whether it may be given several times.
        panel: The heading that it stands under in the help.
    """

    names: tuple[str, ...]
    value: str
    help: str
    default: str | None = None
    is_required: bool = False
    repeats: bool = False
    panel: str = OPTIONS

    @property
    def usage(self) -> str:
        """What is typed for it: `MODEL`, `--output PATH`."""
        return f"{max(self.names, key=len)} {self.value}".rstrip()

    @property
    def typed(self) -> str:
        """All that can be typed for it: `-o, --output PATH`."""
        return f"{', '.join(self.names)} {self.value}".rstrip()

    @property
    def explained(self) -> str:
        """Its help, and its default or that it is required."""
        if self.is_required:
            return f"{self.help} [required]" if self.is_option else self.help
        return self.help if self.default is None else f"{self.help} [default: {self.default}]"

    @property
    def is_option(self) -> bool:
        """Whether it is an option, and not an argument."""
        return self.names[0].startswith("-")


@dataclass(frozen=True)
class Described:
    """A command, as its help and the reference show it.

    Attributes:
        name: Its words after `backlight`: `build`, `adaptive fit`.
        group: The heading that it stands under in the list of commands.
        summary: What it does, in one line.
        details: More paragraphs, each on one line.
        arguments: In the order in which they are typed.
        options: In the order of the help; those of the program, such as `--quiet`, are not among them.
    """

    name: str
    group: str
    summary: str
    details: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]

    @property
    def usage(self) -> tuple[str, ...]:
        """What is typed after the name: `[OPTIONS] MODEL IMAGES --output PATH`."""
        arguments = (own.usage if own.is_required else f"[{own.usage}]" for own in self.arguments)
        return ("[OPTIONS]", *arguments, *(own.usage for own in self.options if own.is_required))

    @property
    def panels(self) -> dict[str, tuple[Parameter, ...]]:
        """The options by their headings."""
        titles = dict.fromkeys([OPTIONS, *(own.panel for own in self.options)])
        found = {title: tuple(own for own in self.options if own.panel == title) for title in titles}
        return {title: own for title, own in found.items() if own}


def describe(name: str, group: str, function: Callable[..., None]) -> Described:
    """Return what a command does and takes, by the docstring and the parameters of its function."""
    summary, *details = [_on_one_line(own) for own in (inspect.getdoc(function) or "").split("\n\n")]
    hints = get_type_hints(function, include_extras=True)
    found = [_parameter(hints[own.name], own) for own in inspect.signature(function).parameters.values()]
    arguments = tuple(own for own in found if not own.is_option)
    return Described(
        name, group, summary, tuple(details), arguments, tuple(own for own in found if own.is_option)
    )


def _parameter(hint: Any, own: inspect.Parameter) -> Parameter:
    kind, info = get_args(hint) if get_origin(hint) is Annotated else (hint, own.default)
    kind, repeats = _kind(kind)
    is_required = own.default is inspect.Parameter.empty
    default = None if is_required else own.default
    text = _on_one_line(info.help or "")
    if isinstance(info, ArgumentInfo):
        shown = info.metavar or own.name.upper()
        return Parameter((shown,), "", text, _typed(default), is_required, repeats)
    assert isinstance(info, OptionInfo)
    # Inside Annotated, Typer's first argument is a name too, though it is called default.
    declared = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    names = tuple(sorted((name for given in declared for name in given.split("/")), key=_is_long))
    panel = info.rich_help_panel if isinstance(info.rich_help_panel, str) else OPTIONS
    if kind is bool:
        return Parameter(names, "", text, names[0] if default and len(names) > 1 else None, panel=panel)
    value = info.metavar or _metavar(kind)
    return Parameter(names, value, text, _typed(default), is_required, repeats, panel)


def _is_long(name: str) -> bool:
    return name.startswith("--")


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type of a value, without None and without the list of an option that repeats; and whether it does."""
    inner = [own for own in get_args(hint) if own is not NoneType]
    if get_origin(hint) is list:
        return inner[0], True
    if len(inner) == 1 and NoneType in get_args(hint):
        return _kind(inner[0])
    return hint, False


def _metavar(kind: Any) -> str:
    """Return what stands for a value of a type: its choices, `PATH`, `N`."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(own.value) for own in kind)
    return _METAVARS[kind]


def _typed(default: Any) -> str | None:
    """Return a default as it would be typed; None where there is none."""
    if default is None or default == "":
        return None
    return f"{default:g}" if isinstance(default, float) else str(default)


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
