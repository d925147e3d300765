"""Names from files and from users are printed as they are: never as markup, an emoji or an escape sequence."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import backlight
from backlight.cli import output
from backlight.cli.output import console, errors, progress_bars, styled
from backlight.text import visible
from cli.running import BUILD, run

CLI = Path(output.__file__).parent
HOSTILE = ["a[/x]", "[red]b:cat: c", "d\x1b[31m\ne"]
TAG = re.compile(r"\[/?(?:[a-z]+(?: [a-z]+)*)?\]")


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


def test_several_outputs_are_said_and_chosen_on_the_command_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "two.py").write_text(
        "from mine import SmallNet\n\nclass Two(SmallNet):\n    def forward(self, x):\n"
        "        maps = self.relu1(self.conv1(x))\n"
        "        return {'embedding': maps.mean((2, 3)), 'logits': super().forward(x)}\n"
        "\ndef make():\n    return Two()\n"
    )
    picture = str(next(Path("pictures").glob("*/*.png")))
    model = ("two.py:make", picture, "--weights", "w.safetensors", "--size", "32")
    squares = ("--layer", "relu1", "--square", "16", "--stride", "16")
    returned = "Two returns 'embedding' (8) and 'logits' (5); the class is read from"
    assert run("layers", model[0], "--size", "32") == 0
    assert f"{returned} 'logits', by its name." in " ".join(capsys.readouterr().out.split())
    few = ("--translation", "2", "--scale", "1", "--rotation", "0")
    assert run("occlude", *model, *squares) == 0
    said = f"note: {returned} 'logits', by its name; --class-output chooses another"
    assert said in " ".join(capsys.readouterr().err.split())
    assert run("invariance", *model, *few, "--class-output", "embedding") == 0
    assert f"note: {returned} 'embedding', as asked" in " ".join(capsys.readouterr().err.split())
    assert run("invert", *model, "-o", "x.png", "--class-output", "head") == 2
    assert "Two has no output 'head'" in capsys.readouterr().err


def test_values_are_written_out_and_only_the_template_is_markup() -> None:
    text = styled("[bold]{}[/] of {:.1f} %", "[red]x[/]:cat:\n", 3.0)
    assert text.plain == "[red]x[/]:cat:\\n of 3.0 %"
    assert [str(span.style) for span in text.spans] == ["bold"]
    assert visible("fine äö\u3000– 日本") == "fine äö\u3000– 日本"
    assert visible("\ud800\u202e\t") == "\\ud800\\u202e\\t"


def test_names_in_progress_bars_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as report:
        report("[red]x[/y]", 1, 2, "[bold]note")
    assert "[red]x[/y]" in capsys.readouterr().err


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file, function and call of every call in the command line's sources."""
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), node


def test_nothing_but_a_literal_template_is_markup() -> None:
    """So that no name can become markup: the rule of `backlight.cli.output`, held over its sources."""
    assert not console._markup
    assert not errors._markup
    faults = []
    for file, function, call in _calls():
        text = ast.unparse(call)
        literals = [own.value for own in ast.walk(call) if isinstance(own, ast.Constant)]
        words = [own for own in literals if isinstance(own, str)]
        if function == "styled" and not (call.args and isinstance(call.args[0], ast.Constant)):
            templates = ast.walk(call.args[0]) if isinstance(call.args[0], ast.Name) else []
            if not list(templates):
                faults.append(f"{file}: the template is no literal: {text}")
        if any(own.arg in ("markup", "emoji") for own in call.keywords) and file != "output.py":
            faults.append(f"{file}: {text}")
        if function in ("Console", "Text.from_markup") and file != "output.py":
            faults.append(f"{file}: {text}")
        if function in ("console.print", "errors.print") and "styled(" not in text:
            faults += [f"{file}: printed as it is: {own}" for own in words if TAG.search(own) or "\n" in own]
    assert not faults


def test_python_is_advised_in_python_and_the_command_line_in_flags(workplace: Path) -> None:
    net = backlight.capture(nn.Conv2d(3, 2, 1), (3, 4, 4))
    with pytest.raises(backlight.BacklightError, match="lists them") as caught:
        backlight.strongest(net, torch.zeros(1, 3, 4, 4), "conv2d", 9)
    assert str(caught.value).endswith("; net.layers lists them")
    assert caught.value.for_command_line.endswith("; `backlight layers MODEL` lists them")
    library = CLI.parent
    faults = [
        f"{path.relative_to(library)}: {node.value}"
        for path in library.rglob("*.py")
        if CLI not in path.parents
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
