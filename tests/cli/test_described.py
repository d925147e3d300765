"""What is read from the function of a command: names, values, defaults, headings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from backlight.cli.described import Parameter, describe


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def _paint(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="What is written.")],
    more: Annotated[list[Path] | None, typer.Option("--more", help="Others.")] = None,
    colour: Annotated[Colour, typer.Option("--colour", help="Which.")] = Colour.RED,
    mode: Annotated[Literal["a", "b"], typer.Option("--mode", help="How.")] = "b",
    gain: Annotated[float, typer.Option("--gain", help="How\n  much.", rich_help_panel="Light")] = 0.5,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it.")] = True,
    dry: Annotated[bool, typer.Option("--dry", help="Only say it.")] = False,
    other: Annotated[str | None, typer.Argument(metavar="OTHER", help="Another.")] = None,
) -> None:
    """Paint a picture.

    In one colour,
    or two.
    """


def test_a_function_says_what_a_command_takes() -> None:
    found = describe("paint", "Pictures", _paint)
    assert (found.name, found.group, found.summary) == ("paint", "Pictures", "Paint a picture.")
    assert found.details == ("In one colour, or two.",)
    assert found.arguments == (
        Parameter(("IMAGE",), "", "A picture.", is_required=True),
        Parameter(("OTHER",), "", "Another."),
    )
    assert found.options == (
        Parameter(("-o", "--output"), "PATH", "What is written.", is_required=True),
        Parameter(("--more",), "PATH", "Others.", repeats=True),
        Parameter(("--colour",), "red|green", "Which.", "red"),
        Parameter(("--mode",), "a|b", "How.", "b"),
        Parameter(("--gain",), "NUMBER", "How much.", "0.5", panel="Light"),
        Parameter(("--open", "--no-open"), "", "Open it.", "--open"),
        Parameter(("--dry",), "", "Only say it."),
    )


def test_the_usage_names_what_must_be_given() -> None:
    assert describe("paint", "Pictures", _paint).usage == ("[OPTIONS]", "IMAGE", "[OTHER]", "--output PATH")


def test_options_stand_under_their_headings() -> None:
    panels = describe("paint", "Pictures", _paint).panels
    assert {title: len(own) for title, own in panels.items()} == {"Options": 6, "Light": 1}


def test_a_default_and_a_duty_stand_beside_the_help() -> None:
    by_name = {own.names[-1]: own.explained for own in describe("paint", "Pictures", _paint).options}
    assert by_name["--output"] == "What is written. [required]"
    assert by_name["--gain"] == "How much. [default: 0.5]"
    assert by_name["--dry"] == "Only say it."
    assert describe("paint", "Pictures", _paint).arguments[0].explained == "A picture."
