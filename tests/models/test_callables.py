"""Models from the user's own code: every way to name one; every mistake gets one line with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from backlight.errors import BadInputError
from backlight.models import load_model

GOOD = """
import dataclasses
import sys
import torch
from torch import nn
print("hello from the file")

@dataclasses.dataclass
class Settings:
    width: "int" = 4

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())
        self.fc = nn.Linear(width, 2)
    def forward(self, x):
        print("hello from make")
        return self.fc(self.backbone(x).mean((2, 3)))

class Zoo:
    small = staticmethod(lambda: Net())

def make():
    from helper import WIDTH
    return Net(WIDTH)

def sized(width, depth, *, norm="batch"):
    return Net(width)

def keyword(*, width):
    return Net(width)

def fails():
    raise RuntimeError("no such\\ndevice")

def leaves():
    sys.exit(3)

def both():
    return Net(), None

def state():
    return Net().state_dict()

instance = Net()
size = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    (tmp_path / "syntax.py").write_text("x = 1\ndef make(:\n    pass\n")
    (tmp_path / "imports.py").write_text("x = 1\nimport nowhere.at_all\n")
    (tmp_path / "broken.py").write_text("x = 1\n\nx.y()\n")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit('done')\n")
    (tmp_path / "bare.py").write_text("from torch import nn\nx = 1\n")
    (tmp_path / "json.py").write_text("from torch import nn\nmake = lambda: nn.Conv2d(3, 1, 1)\n")
    yield tmp_path
    for name in ("mine", "helper", "syntax", "imports", "broken", "ends", "bare"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["make", "Net", "instance", "Zoo.small"])
def test_a_function_a_class_and_a_module_name_a_model(
    here: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_model(f"mine.py:{name}")
    assert type(loaded.model).__name__ == "Net"
    assert capsys.readouterr().out == ""  # what the file prints must not mix with what a command prints
    assert str(here) not in sys.path


def test_a_package_is_found_from_here(here: Path) -> None:
    assert type(load_model("mine:make").model).__name__ == "Net"


def test_a_file_may_be_called_as_a_module_of_python(here: Path) -> None:
    import json

    assert isinstance(load_model("json.py:make").model, nn.Conv2d)
    assert sys.modules["json"] is json


BAD = [
    ("mine.py:sized", r"^mine.py:sized cannot be called without arguments \(it needs width, depth\); write a function"),
    ("mine.py:keyword", r"it needs width\)"),
    ("json:dumps", r"json:dumps cannot be called without arguments \(it needs obj\)"),
    ("json:JSONDecoder", "returned a value of type JSONDecoder, not a torch.nn.Module"),
    ("mine.py:fails", "^mine.py:fails: mine.py:35 in fails: RuntimeError: no such$"),
    ("mine.py:leaves", "mine.py:38 in leaves: ends the program"),
    ("mine.py:both", "a tuple with a model in it"),
    ("mine.py:state", "returned a state dict"),
    ("mine.py:size", "mine.py:size is a value of type int, which cannot be called; it has make, sized, "),
    ("mine.py:mak", r"'mine.py' has no callable 'mak'; it has make: write for example mine.py:make"),
    ("mine.py", "'mine.py' alone does not name a model; it has "),
    ("mine.py:", "'mine.py' alone does not name a model"),
    ("bare.py:make", "'bare.py' has no callable 'make'; write a function in it that returns the model"),
    ("syntax.py:make", "^syntax.py:make: syntax.py:2: SyntaxError: "),
    ("imports.py:make", "^imports.py:make: imports.py:2: ModuleNotFoundError: No module named 'nowhere'"),
    ("broken.py:make", "broken.py:3: AttributeError: 'int' object"),
    ("ends.py:make", "ends.py:2: ends the program"),
    ("nopackage.models:make", "No module named 'nopackage'"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "said"), BAD, ids=[spec for spec, _ in BAD])
def test_what_is_not_a_model_gets_one_line(here: Path, spec: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as raised:
        load_model(spec)
    assert "\n" not in str(raised.value)
    assert str(here) not in sys.path
