"""A result comes back from its two files as it was; other files are refused in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

import backlight
from backlight.errors import BadInputError, StorageError
from backlight.render.plots import Plot, new_plot
from backlight.studies.homogeneity import Homogeneity
from backlight.studies.invariance import Invariance
from backlight.studies.results import Result


@dataclass(frozen=True)
class Config:
    shares: tuple[float, ...] = (0.1, 0.2)
    fill: str = "mean"


@dataclass(frozen=True, eq=False, repr=False)
class Found(Result):
    study: ClassVar[str] = "found"

    config: Config
    names: tuple[str, ...]
    best: int | None
    values: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        return {"best": self.best}

    def plot(self) -> Plot:
        figure, ((axes,),) = new_plot(1, 1, (3.0, 2.0), "Found", "a note")
        axes.plot(self.values)
        return figure


@dataclass(frozen=True, eq=False)
class Other(Found):
    pass


FOUND = Found(Config((0.5,), "blur"), ("a", "b"), None, np.array([1.0, np.nan]))


@pytest.mark.parametrize("ending", ["", ".json", ".npz"])
def test_a_result_comes_back(tmp_path: Path, ending: str) -> None:
    FOUND.save(tmp_path / "v1.2 result")
    back = Found.load(tmp_path / f"v1.2 result{ending}")
    assert (back.config, back.names, back.best) == (FOUND.config, FOUND.names, None)
    np.testing.assert_array_equal(back.values, FOUND.values)


def test_the_line_of_a_notebook_is_short() -> None:
    @dataclass(frozen=True, eq=False, repr=False)
    class Told(Found):
        network: str
        layers: tuple[str, ...]
        images: tuple[str, ...]

    told = Told(*vars(FOUND).values(), "SmallNet", ("relu1",), ("a.png", "b.png"))
    assert repr(told) == "Told(SmallNet, 'relu1', 2 images)"
    assert (
        repr(replace(told, layers=("relu1", "relu2"), images=("a.png",)))
        == "Told(SmallNet, 2 layers, 1 image)"
    )


def test_no_result_dumps_its_arrays() -> None:
    modules = sorted((Path(backlight.__file__).parent).glob("*/**/result.py"))
    assert len(modules) > 8
    for path in modules:
        import_module(
            f"backlight.{'.'.join(path.relative_to(Path(backlight.__file__).parent).parts[:-1])}.result"
        )
    todo, found = [Result], []
    while todo:
        own = [kind for kind in todo.pop().__subclasses__() if kind.__module__.startswith("backlight.")]
        todo, found = todo + own, found + own
    assert len(found) > 10
    assert [kind for kind in found if "__repr__" in vars(kind)] == []


def test_a_notebook_shows_it() -> None:
    assert FOUND._repr_png_().startswith(b"\x89PNG")


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="not a saved found result"):
        Found.load(tmp_path / "none")
    FOUND.save(tmp_path / "r")
    (tmp_path / "r.npz").write_bytes(b"no")
    with pytest.raises(BadInputError, match="not a saved found result"):
        Found.load(tmp_path / "r")
    with pytest.raises(StorageError, match="choose another place"):
        FOUND.save(tmp_path / "missing" / "r")


def test_one_new_and_one_old_file_do_not_pass_for_a_result(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "r")
    old = (tmp_path / "r.npz").read_bytes()
    Found(Config(), ("a",), 1, np.array([2.0])).save(tmp_path / "r")
    (tmp_path / "r.npz").write_bytes(old)  # as a kill between the two leaves them
    with pytest.raises(BadInputError, match=r"r\.json': the \.json and the \.npz do not belong together"):
        Found.load(tmp_path / "r")


def test_a_save_that_fails_leaves_both_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FOUND.save(tmp_path / "r")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(file: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StorageError, match=r"cannot write '.*r\.json' \(No space left on device\)"):
        Found(Config(), ("a",), 1, np.array([2.0])).save(tmp_path / "r")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_changed_value_is_told_but_another_layout_is_not(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "r")
    path = tmp_path / "r.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text)))
    assert Found.load(tmp_path / "r").names == ("a", "b")
    path.write_text(text.replace('"blur"', '"mean"'))
    with pytest.raises(BadInputError, match="or were changed after they were saved"):
        Found.load(tmp_path / "r")
    path.write_text(json.dumps({k: v for k, v in json.loads(text).items() if k != "checksum"}))
    with pytest.raises(BadInputError, match="its checksum is missing, so the file was changed"):
        Found.load(tmp_path / "r")


def test_each_caller_is_told_how_to_save_again(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "r")
    path = tmp_path / "r.json"
    path.write_text(path.read_text().replace('"blur"', '"mean"'))
    with pytest.raises(BadInputError, match=r"r\.json': .*; `save` the result again$") as caught:
        Found.load(path)
    assert caught.value.for_command_line.endswith("; run the study again with --save")
    assert "`save`" not in caught.value.for_command_line


@pytest.mark.parametrize(
    "name", ["Correspondence", "Faithfulness", "Homogeneity", "Invariance", "Occlusion", "Sanity"]
)
def test_a_study_keeps_the_name_in_its_files_wherever_its_class_is(name: str) -> None:
    kind = getattr(import_module(f"backlight.studies.{name.lower()}"), name)
    assert kind.study == name.lower()
    moved = type(name, (kind,), {"__module__": "somewhere.else"})
    assert moved.study == name.lower()


def test_an_invariance_is_saved_in_the_form_it_always_had() -> None:
    arrays = {
        *("amounts", "transforms", "raw_distances", "lengths", "other_distances", "classes", "probabilities"),
        *("original_probabilities", "map_counts", "map_moves", "other_map_moves", "pictures"),
    }
    values = {"config", "network", "layers", "shapes", "images", "class_given", "output"}
    assert {field.name for field in fields(Invariance)} == arrays | values


def test_a_result_from_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "r")
    found = json.loads((tmp_path / "r.json").read_text())
    del found["checksum"]
    (tmp_path / "r.json").write_text(json.dumps(found | {"format": 1}))
    assert Found.load(tmp_path / "r").config == FOUND.config


def test_bytes_come_back_and_damaged_bytes_are_refused() -> None:
    data = FOUND.to_bytes()
    assert Found.from_bytes(data).config == FOUND.config
    for damaged in (data[:-40], b"no", data.replace(b"json", b"jsom")):
        with pytest.raises(BadInputError, match="these bytes are not a found result"):
            Found.from_bytes(damaged)
    with pytest.raises(BadInputError, match="of the study found"):
        Homogeneity.from_bytes(data)
