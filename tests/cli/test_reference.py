"""The reference: what it says of every command is what the command's help says."""

from __future__ import annotations

from backlight.cli.commands import AdaptiveCommands, Commands
from backlight.cli.reference import global_options, reference


def test_every_command_is_there_once_by_groups() -> None:
    found = reference()
    names = [*Commands.known, *(f"adaptive {name}" for name in AdaptiveCommands.known)]
    assert sorted(own.name for own in found) == sorted(names)
    groups = [own.group for own in found]
    assert list(dict.fromkeys(groups)) == ["Atlas", "One image", "Studies", "Adaptive networks"]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)


def test_every_argument_and_option_is_explained_and_named_once() -> None:
    for own in reference():
        names = [name for given in (*own.arguments, *own.options) for name in given.names]
        assert len(names) == len(set(names)), own.name
        for given in (*own.arguments, *own.options):
            assert given.help.endswith("."), (own.name, given.names)
        assert not {name for given in global_options() for name in given.names} & set(names)


def test_what_build_takes() -> None:
    build = next(own for own in reference() if own.name == "build")
    assert [own.names[0] for own in build.arguments] == ["MODEL", "IMAGES"]
    assert build.panels["Several processes or machines"][0].names == ("--plan",)
    assert next(own.default for own in build.options if own.names == ("--maps",)) == "16"
