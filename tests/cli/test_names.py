"""Names from files and from users are printed as they are: never as markup, an emoji or an escape sequence."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

import backlight
from backlight.atlas import keep_origin
from backlight.text import visible
from cli.running import BUILD, run
from fuzz.tiny import make_tiny_atlas

HOSTILE = ["a[/x]", "[red]b:cat: c", "d\x1b[31m\ne"]


@pytest.mark.parametrize("name", HOSTILE)
def test_commands_print_the_paths_that_they_write(
    workplace: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"{name}.atlas").parent.mkdir(exist_ok=True)
    build = [f"{name}.atlas" if word == "a.atlas" else word for word in BUILD]
    assert run(*build, "--maps", "1", "--layers", "relu1") == 0
    printed = capsys.readouterr().out
    assert f"{visible(name)}.atlas (" in printed
    assert "\x1b" not in printed
    command = next(line for line in printed.splitlines() if line.startswith("backlight figure "))
    if name.isprintable():
        assert shlex.split(command)[2] == f"{name}.atlas"
    written = f"{name}.png"
    assert run("figure", f"{name}.atlas", "relu1", "-o", written) == 0
    assert f"{visible(written)} (" in capsys.readouterr().out
    picture = str(next(Path("pictures").glob("*/*.png")))
    model = (*BUILD[1:2], picture, "--layer", "relu1", "--weights", "w.safetensors", "--size", "32")
    labels = Path("labels.txt")
    labels.write_text("\n".join(f"{visible(name)}{i}" for i in range(5)), "utf-8")
    squares = ("--square", "16", "--stride", "16", "--labels", str(labels), "--save", name)
    assert run("occlude", *model, *squares) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"probability of {re.escape(visible(name))}[0-4] ", printed)
    assert f"{visible(name)}.json, .npz" in printed


@pytest.mark.parametrize("name", HOSTILE)
def test_errors_print_the_names_that_they_are_about(
    workplace: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("figure", f"{name}.atlas", "relu1", "-o", "x.png") == 2
    assert run(*BUILD, "--layers", name.replace("\n", "")) == 2
    assert run("adaptive", "fit", "pictures", "-o", f"no/{name}/x.adn") == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 3
    assert printed.count(repr(name)[1:-1]) + printed.count(visible(name)) >= 3
    assert "\x1b" not in printed


def test_layers_and_bad_pictures_of_any_name_are_printed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "odd.py").write_text(
        "from torch import nn\nfrom mine import SmallNet\n\nclass Odd(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.add_module('[red]x', nn.Conv2d(3, 4, 3)); self.add_module('[/y]', nn.ReLU())\n"
        "    def forward(self, x):\n"
        "        return self._modules['[/y]'](self._modules['[red]x'](x)).mean((2, 3))\n"
        "\ndef make():\n    return Odd()\n"
    )
    assert run("layers", "odd.py:make", "--size", "32") == 0
    assert "[/y]" in capsys.readouterr().out
    (workplace / "pictures" / "a" / "[red]z\x1b[1m.png").write_bytes(b"no picture")
    assert run(*BUILD, "--maps", "1", "--layers", "relu1") == 0
    printed = capsys.readouterr().out
    assert "[red]z\\x1b[1m.png: " in printed
    assert "1 picture" in printed


def test_python_is_advised_in_python_and_the_command_line_in_flags(workplace: Path) -> None:
    net = backlight.capture(nn.Conv2d(3, 2, 1), (3, 4, 4))
    with pytest.raises(backlight.BacklightError, match="lists them") as caught:
        backlight.strongest(net, torch.zeros(1, 3, 4, 4), "conv2d", 9)
    assert str(caught.value).endswith("; net.layers lists them")
    assert caught.value.for_command_line.endswith("; `backlight layers MODEL` lists them")
    library = Path(backlight.__file__).parent
    faults = [
        f"{path.relative_to(library)}: {node.value}"
        for path in library.rglob("*.py")
        if library / "cli" not in path.parents
        for raised in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(raised, ast.Raise) and raised.exc is not None
        for part in _texts_for_python(raised.exc)
        for node in ast.walk(part)
        if isinstance(node, ast.Constant) and re.search(r"`backlight |(^|\s)--[a-z]", str(node.value))
    ]
    assert not faults


def _texts_for_python(raised: ast.expr) -> list[ast.expr]:
    """Return what of a raised error is not the advice for the command line."""
    if not isinstance(raised, ast.Call):
        return [raised]
    return [*raised.args, *(own.value for own in raised.keywords if own.arg != "command")]


def test_the_message_in_the_documentation_is_the_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("A.atlas"))
    keep_origin(Path("A.atlas"), {"model": "model.py:make", "images": "photos", "weights": "w.safetensors"})
    assert run("faithfulness", "A.atlas") == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert printed.startswith("error: A.atlas names 'model.py:make' as its model")
    assert printed in " ".join(page.split())
