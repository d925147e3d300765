"""The commands by name: `--help` lists them without importing any, and the one that runs is imported when it runs.

A command's own module imports nothing that takes long; what a command needs to run, PyTorch first of all, it imports in
its function. So help and mistakes in the command line are answered at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from backlight.cli.described import Described, describe
from backlight.cli.helping import (
    COMPLETION_OPTIONS,
    DescribedCommand,
    write_global_options,
    write_list,
    write_paragraphs,
)
from backlight.cli.output import is_read_no_longer, stop_printing

ATLAS, ONE_IMAGE, STUDIES, ADAPTIVE = "Atlas", "One image", "Studies", "Adaptive networks"


class StoppedByUser(Exception):  # noqa: N818  (it is no error)
    """Ctrl-C: Typer would end without a word, or with another exit code, by its version."""


class Command(NamedTuple):
    """Where a command is, and what the list of commands says of it.

    Attributes:
        place: The module in this package and its function, `module:function`.
        summary: The first paragraph of the function's docstring; a test holds them equal.
        group: The heading that it stands under.
    """

    place: str
    summary: str
    group: str = ATLAS


class LazyGroup(TyperGroup):
    """Commands that are imported when they run."""

    known: ClassVar[dict[str, Command]] = {}

    def __init__(self, **options: Any) -> None:
        """Put what the list shows of each command before the groups: it has a name and a summary and cannot run."""
        super().__init__(**options)
        shown = {name: TyperCommand(name, help=command.summary) for name, command in self.known.items()}
        self.commands = {**shown, **self.commands}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write what the group is for, and its commands."""
        self.format_usage(ctx, formatter)
        write_paragraphs(formatter, [self.help or ""])
        listed = self.listed()
        width = max(map(len, listed))
        for group in dict.fromkeys(own.group for own in listed.values()):
            rows = [(name.ljust(width), own.summary) for name, own in listed.items() if own.group == group]
            write_list(formatter, group, rows)
        self.format_more(formatter)

    def listed(self) -> dict[str, Command]:
        """Return the commands that the help lists."""
        return self.known

    def format_more(self, formatter: Any) -> None:
        """Write what stands below the commands."""
        write_global_options(formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, imported, and the rest of them."""
        name, command, rest = super().resolve_command(ctx, args)
        return (name, loaded(name, self.known[name]), rest) if name in self.known else (name, command, rest)


class Commands(LazyGroup):
    """The commands of the program; lets Ctrl-C out of Typer's hands."""

    known: ClassVar[dict[str, Command]] = {
        "demo": Command(
            "demo:demo",
            "Build an atlas, figures and a site from the embedded model.",
        ),
        "layers": Command("layers:layers", "List the layers of a model or an atlas, and what a unit sees."),
        "build": Command(
            "build:build",
            "Build an atlas: find and project every map's strongest hits.",
        ),
        "extend": Command(
            "extend:extend",
            "Add feature maps, layers or rule sets to a finished atlas.",
        ),
        "info": Command("info:info", "Say what an atlas holds, and whether it is finished."),
        "scan-shard": Command(
            "scan_shard:scan_shard",
            "Scan one of N parts of a plan, as a job of a queue does.",
        ),
        "merge": Command(
            "merge:merge",
            "Merge the scanned parts of a plan, and build the atlas.",
        ),
        "check": Command(
            "check:check",
            "Compare all of an atlas with its checksums.",
        ),
        "figure": Command(
            "figure:figure",
            "Draw a layer: its maps' hits, projected, beside the patches.",
        ),
        "rules": Command(
            "rules:rules",
            "Draw a layer as several rule sets project it, side by side.",
        ),
        "serve": Command(
            "serve:serve",
            "Show an atlas in the browser.",
        ),
        "export": Command(
            "export:export",
            "Write an atlas as a web site, or its hits as a table.",
        ),
        "compare": Command(
            "compare:compare",
            "Compare two atlases: which feature maps have changed?",
        ),
        "project": Command("project:project", "Project one unit of each image back to pixels.", ONE_IMAGE),
        "superpose": Command(
            "superpose:superpose",
            "Add up projections: of a map's hits, or of an image's units.",
        ),
        "faithfulness": Command(
            "faithfulness:faithfulness", "Cover what projections show: do the activations fall?", STUDIES
        ),
        "foretelling": Command(
            "foretelling:foretelling", "Slide a square: do activations fall where projections say?", STUDIES
        ),
        "occlude": Command(
            "occlude:occlude", "Slide a square over an image: what falls, and where?", ONE_IMAGE
        ),
        "invariance": Command(
            "invariance:invariance", "Shift, scale and turn images: how much do layers change?", STUDIES
        ),
        "correspond": Command(
            "correspond:correspond", "Mask the same part in several images: does a layer know it?", STUDIES
        ),
        "homogeneity": Command(
            "homogeneity:homogeneity", "Compare the hits of each feature map: how alike are they?", STUDIES
        ),
        "evolve": Command(
            "evolve:evolve", "Follow feature maps through a training, by its checkpoints.", STUDIES
        ),
        "sanity": Command(
            "sanity:sanity", "Randomise weights and switches: do the projections change?", STUDIES
        ),
        "diagnose": Command(
            "diagnose:diagnose", "Find out what is wrong with a network, and what to try.", STUDIES
        ),
        "invert": Command("invert:invert", "Reconstruct an image from a layer's activations.", ONE_IMAGE),
    }

    def listed(self) -> dict[str, Command]:
        """Return the commands, those of the group `adaptive` among them."""
        return {**self.known, **{f"adaptive {name}": own for name, own in AdaptiveCommands.known.items()}}

    def format_more(self, formatter: Any) -> None:
        """Write what stands below the commands."""
        write_global_options(formatter, *COMPLETION_OPTIONS)
        write_paragraphs(formatter, ["`backlight COMMAND --help` says what a command takes."])

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line."""
        with _uninterrupted():
            return super().make_context(*arguments, **named)

    def invoke(self, *arguments: Any) -> Any:
        """Run the command."""
        with _uninterrupted():
            return super().invoke(*arguments)


class AdaptiveCommands(LazyGroup):
    """The commands of the group `adaptive`."""

    known: ClassVar[dict[str, Command]] = {
        "fit": Command("adaptive_fit:fit", "Learn a network from images, without labels.", ADAPTIVE),
        "show": Command(
            "adaptive_show:show", "Draw a learned network: filters, feature maps, pictures.", ADAPTIVE
        ),
    }


def function_of(command: Command) -> Any:
    """Return the function of a command, imported."""
    module, _, function = command.place.partition(":")
    return getattr(import_module(f"backlight.cli.{module}"), function)


def described(name: str, command: Command) -> Described:
    """Return what a command does and takes; its name has its group's in front."""
    return describe(name, command.group, function_of(command))


def loaded(name: str, command: Command) -> Any:
    """Return a command, imported, as Typer makes it of its function."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=DescribedCommand)(function_of(command))
    made = typer.main.get_command(alone)
    assert isinstance(made, DescribedCommand)
    made.described = described(name, command)
    return made


@contextmanager
def _uninterrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedByUser from None
    except BrokenPipeError:  # before Click, which would exit with 1
        if is_read_no_longer():
            stop_printing()
        raise
