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


class StoppedByUser(Exception):  # noqa: N818  (it is no error)
    """Ctrl-C: Typer would end without a word, or with another exit code, by its version."""


class Command(NamedTuple):
    """Where a command is, and what the list of commands says of it.

    Attributes:
        place: The module in this package and its function, `module:function`.
        summary: The first paragraph of the function's docstring; a test holds them equal.
    """

    place: str
    summary: str


class LazyGroup(TyperGroup):
    """Commands that are imported when they run."""

    known: ClassVar[dict[str, Command]] = {}

    def __init__(self, **options: Any) -> None:
        """Put what the list shows of each command before the groups: it has a name and a summary and cannot run."""
        super().__init__(**options)
        shown = {name: TyperCommand(name, help=command.summary) for name, command in self.known.items()}
        self.commands = {**shown, **self.commands}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, imported, and the rest of them."""
        name, command, rest = super().resolve_command(ctx, args)
        return (name, loaded(name, self.known[name]), rest) if name in self.known else (name, command, rest)


class Commands(LazyGroup):
    """The commands of the program; lets Ctrl-C out of Typer's hands."""

    known: ClassVar[dict[str, Command]] = {
        "demo": Command(
            "demo:demo",
            "Build an atlas of the embedded model and photographs, and draw figures and a web site from it.",
        ),
        "layers": Command(
            "layers:layers", "List a model's layers, with their receptive fields, and what its operators are."
        ),
        "build": Command(
            "build:build",
            "Build an atlas: the strongest activations of every feature map, each projected back to pixels.",
        ),
        "extend": Command(
            "extend:extend",
            "Add feature maps, layers, rule sets or examples of bands to an atlas; nothing is computed again.",
        ),
        "scan-shard": Command(
            "scan_shard:scan_shard",
            "Scan one of N parts of the images of a plan; what is there already is not scanned again.",
        ),
        "merge": Command(
            "merge:merge",
            "Merge the parts of a plan that `scan-shard` has scanned, and build the atlas from there.",
        ),
        "check": Command(
            "check:check",
            "Read all of an atlas and compare it with its checksums; exits with 1 if anything is damaged.",
        ),
        "figure": Command(
            "figure:figure",
            "Draw a layer: for each feature map its strongest hits projected back to pixels, beside their patches.",
        ),
        "rules": Command(
            "rules:rules",
            "Draw a layer with its hits projected by other rules too, side by side.",
        ),
        "serve": Command(
            "serve:serve",
            "Show an atlas in the browser: every layer, feature map and image has a page.",
        ),
        "export": Command(
            "export:export",
            "Write an atlas as a web site of plain files, which opens by double click.",
        ),
        "compare": Command(
            "compare:compare",
            "Compare two atlases of one architecture: which feature maps have other strongest images and filters?",
        ),
        "project": Command(
            "project:project",
            "Project one unit of each image back to pixels: its activation is kept, all others are set to zero.",
        ),
        "superpose": Command(
            "superpose:superpose",
            "Superpose projections, each made by itself: of a feature map's hits, or of an image's strongest units.",
        ),
        "faithfulness": Command(
            "faithfulness:faithfulness",
            "Cover what the projections of an atlas show: does the activation fall more than for controls?",
        ),
        "foretelling": Command(
            "foretelling:foretelling",
            "Slide a square over what units see: does the activation fall where their projections have energy?",
        ),
        "occlude": Command(
            "occlude:occlude",
            "Slide a square over a picture: where does a feature map fall, the class's probability, the answer?",
        ),
        "invariance": Command(
            "invariance:invariance",
            "Shift, magnify and turn pictures: how far do layers move, how far does the class's probability fall?",
        ),
        "correspond": Command(
            "correspond:correspond",
            "Mask the same part in several images: does it change a layer in the same way, more than random masks do?",
        ),
        "homogeneity": Command(
            "homogeneity:homogeneity",
            "Compare the hits of each feature map with each other: are they more alike than hits of different maps?",
        ),
        "evolve": Command(
            "evolve:evolve",
            "Follow feature maps through a training, checkpoint by checkpoint: what changes, and when does it settle?",
        ),
        "sanity": Command(
            "sanity:sanity",
            "Replace weights by random ones, and switches by others: how alike do the projections stay?",
        ),
        "diagnose": Command(
            "diagnose:diagnose",
            "Find out what is wrong with a network: dead and duplicate maps, aliasing, padding, each with what to try.",
        ),
        "invert": Command(
            "invert:invert",
            "Reconstruct an image from a layer's activations; differences show what the layer discards.",
        ),
    }

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
        "fit": Command(
            "adaptive_fit:fit",
            "Learn a network from images, without labels: each layer learns to reconstruct the images themselves.",
        ),
        "show": Command(
            "adaptive_show:show",
            "Draw a network: its filters, what its feature maps stand for, and how it represents pictures.",
        ),
    }


def loaded(name: str, command: Command) -> Any:
    """Return a command, imported, as Typer makes it of its function."""
    module, _, function = command.place.partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name)(getattr(import_module(f"backlight.cli.{module}"), function))
    return typer.main.get_command(alone)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedByUser from None
