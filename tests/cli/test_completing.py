"""Completion: what a shell is told, as its script asks, and that asking imports nothing that takes long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from timm import list_models as list_timm
from torchvision.models import list_models

from backlight.cli.completing import complete_layer, complete_model, complete_rules, join_at_colons, zoo_names
from fuzz.tiny import make_tiny_atlas

ASK = """
import sys
from backlight_program import main
try:
    sys.argv = ["backlight"]
    main()
finally:
    print(*[name for name in ("torch", "torchvision", "timm", "matplotlib") if name in sys.modules], file=sys.stderr)
"""


def completed(*words: str, shell: str = "bash") -> list[str]:
    """Return what a shell is told for the last word, which its script passes in these variables."""
    typed = {"COMP_WORDS": "\n".join(["backlight", *words]), "COMP_CWORD": str(len(words))}
    if shell == "zsh":
        typed = {"_TYPER_COMPLETE_ARGS": " ".join(["backlight", *words])}
    asked = {**os.environ, "_BACKLIGHT_COMPLETE": f"complete_{shell}", **typed}
    done = subprocess.run([sys.executable, "-c", ASK], env=asked, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fai"], ["faithfulness"]),
        (["adaptive", "s"], ["show"]),
        (["build", "--ba"], ["--batch-size", "--bands"]),
        (["build", "--compile", "o"], ["on", "off"]),
        (["project", "demo", "a.png", "--rules", "g"], ["guided", "gradient"]),
        (["layers", "torch"], ["torchvision:"]),
        (["layers", "torchvision", ":", "resnet15"], ["resnet152"]),
        (["check", "a."], []),
    ],
)
def test_bash_is_told_commands_options_and_values(words: list[str], told: list[str]) -> None:
    assert completed(*words) == told


def test_zsh_is_told_whole_words(tmp_path: Path) -> None:
    assert '"torchvision\\\\:resnet152"' in " ".join(completed("layers", "torchvision:resnet15", shell="zsh"))


def test_the_names_of_the_zoos_are_those_that_they_give() -> None:
    assert zoo_names("timm") == sorted(list_timm())
    plain = {name for name in list_models() if not name.startswith("quantized_")}
    assert plain <= set(zoo_names("torchvision")) <= set(list_models())
    assert zoo_names("nowhere") == []


def test_models_rules_and_layers_begin_as_the_word_does(tmp_path: Path) -> None:
    assert complete_model("") == ["torchvision:", "timm:", "demo"]
    assert complete_model("torchvision:squeeze") == ["torchvision:squeezenet1_0", "torchvision:squeezenet1_1"]
    assert complete_model("mine.py:m") == []
    assert complete_rules("deconvnet,unp") == ["deconvnet,unpool="]
    make_tiny_atlas(tmp_path / "t.atlas")
    context = SimpleNamespace(params={"atlas": tmp_path / "t.atlas"})
    names = complete_layer(context, "")
    assert names
    assert complete_layer(context, names[0]) == [name for name in names if name.startswith(names[0])]
    assert complete_layer(SimpleNamespace(params={"atlas": tmp_path / "none.atlas"}), "") == []
    assert complete_layer(SimpleNamespace(params={}), "") == []


@pytest.mark.parametrize(
    ("words", "at", "joined", "now", "before"),
    [
        (["b", "layers", "timm", ":", "res"], 4, ["b", "layers", "timm:res"], 2, "timm:"),
        (["b", "layers", "timm", ":"], 3, ["b", "layers", "timm:"], 2, "timm:"),
        (["b", "build", "mine.py", ":", "make", "pic"], 5, ["b", "build", "mine.py:make", "pic"], 3, ""),
        (["b", "build", "mine.py", ":", "make", "pic"], 1, ["b", "build", "mine.py:make", "pic"], 1, ""),
        (["b", "check", ""], 2, ["b", "check", ""], 2, ""),
        (["b", "check"], 2, ["b", "check"], 2, ""),
    ],
)
def test_words_that_bash_split_at_colons_are_put_together(
    words: list[str], at: int, joined: list[str], now: int, before: str
) -> None:
    asked = {"_BACKLIGHT_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(at)}
    assert join_at_colons(asked) == before
    assert (asked["COMP_WORDS"].split("\n"), int(asked["COMP_CWORD"])) == (joined, now)
    other = {"COMP_WORDS": "a\n:"}
    assert join_at_colons(other) == ""
    assert other == {"COMP_WORDS": "a\n:"}
