"""Programs of torch.export: they compute what was exported, and no code from the file is run."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from backlight.errors import BadInputError
from backlight.models import load_model
from models.exported import (
    ATTACK,
    GRAPH,
    Records,
    Runs,
    check_refused,
    exported,
    pickled,
    with_graph,
    write,
)


def test_a_program_computes_what_was_exported(here: Path) -> None:
    net, records = exported()
    write(records)
    loaded = load_model("net.pt2")
    images = torch.rand(3, 3, 8, 9)
    torch.testing.assert_close(loaded.model(images), net(images), rtol=0, atol=0)
    assert (loaded.channels, loaded.size) == (3, (8, 9))


def test_the_size_is_open_where_the_program_leaves_it_open(here: Path) -> None:
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        nn.Conv2d(1, 2, 3), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )
    torch.export.save(program, "net.pt2")
    loaded = load_model("net.pt2")
    assert (loaded.channels, loaded.size) == (1, None)


def test_a_parameter_that_was_pickled_is_read_as_a_tensor(here: Path, records: Records) -> None:
    def change(configs: dict[str, Any], records: Records) -> None:
        configs["conv.bias"]["use_pickle"] = True
        records["data/weights/weight_1"] = pickled(nn.Parameter(torch.arange(4.0)))

    write(_with_config("weights", change)(dict(records)))
    assert torch.equal(load_model("net.pt2").model.state_dict()["conv.bias"], torch.arange(4.0))


def test_sample_inputs_are_not_read(here: Path, records: Records) -> None:
    write(records | {"data/sample_inputs/model.pt": pickled(Runs())})
    assert isinstance(load_model("net.pt2").model, nn.Module)
    assert not Path("ran").exists()


def _with_config(
    kind: str, change: Callable[[dict[str, Any], Records], None]
) -> Callable[[Records], Records]:
    def changed(records: Records) -> Records:
        name = f"data/{kind}/model_{kind}_config.json"
        config = json.loads(records[name])
        change(config["config"], records)
        return records | {name: json.dumps(config).encode()}

    return changed


def _pickled_weight(configs: dict[str, Any], records: Records) -> None:
    configs["conv.bias"]["use_pickle"] = True
    records["data/weights/weight_1"] = pickled(Runs())


def _pickled_constant(configs: dict[str, Any], records: Records) -> None:
    configs["scale"]["use_pickle"] = True
    records[f"data/constants/{configs['scale']['path_name']}"] = pickled(Runs())


def _object(kind: str) -> Callable[[dict[str, Any], Records], None]:
    def change(configs: dict[str, Any], records: Records) -> None:
        configs["scale"]["path_name"] = kind
        records[f"data/constants/{kind}"] = pickle.dumps(Runs())

    return change


HOSTILE: dict[str, tuple[Callable[[Records], Records], str]] = {
    "weight": (_with_config("weights", _pickled_weight), "'data/weights/weight_1' is a pickle of more than tensors"),
    "constant": (_with_config("constants", _pickled_constant), "is a pickle of more than tensors"),
    "object": (_with_config("constants", _object("opaque_obj_0")), "constant 'scale' is an object"),
    "script object": (_with_config("constants", _object("custom_obj_0")), "constant 'scale' is an object"),
    "all weights": (lambda r: r | {"data/weights/model.pt": pickled(Runs())}, "is a pickle of more than tensors"),
    "all constants": (lambda r: r | {"data/constants/model.pt": pickled(Runs())}, "is a pickle of more than tensors"),
    "machine code alone": (
        lambda r: {"data/aotinductor/model/a.so": b"\x7fELF", **{k: v for k, v in r.items() if k != GRAPH}},
        "compiled machine code without a graph",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_code_is_refused(here: Path, records: Records, name: str) -> None:
    change, said = HOSTILE[name]
    check_refused(change(dict(records)), said)


def test_guards_and_machine_code_are_left_out(here: Path, records: Records) -> None:
    changed = with_graph(lambda program: program.update(guards_code=[ATTACK]))(dict(records))
    write(changed | {"data/aotinductor/model/a.so": b"\x7fELF"})
    model = load_model("net.pt2").model
    model(torch.zeros(2, 3, 8, 9))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: {k: v for k, v in r.items() if k != GRAPH}, f"it has no {GRAPH}"),
        (lambda r: r | {GRAPH: b"["}, "is damaged, or not a program saved by torch.export.save"),
        (lambda r: r | {GRAPH: b"[" * 100_000}, "is damaged, or not a program saved by torch.export.save"),
        (lambda r: r | {"data/weights/model_weights_config.json": b"{}"}, "is damaged, or not a program"),
        (
            lambda r: {k: v for k, v in r.items() if k != "data/weights/weight_0"},
            "cannot be loaded by PyTorch",
        ),
    ],
    ids=["no graph", "cut", "deep", "no weights", "a weight missing"],
)
def test_damaged_programs(
    here: Path, records: Records, change: Callable[[Records], Records], said: str
) -> None:
    write(change(dict(records)))
    with pytest.raises(BadInputError, match=said) as raised:
        load_model("net.pt2")
    assert "\n" not in str(raised.value)


def test_other_files(here: Path, records: Records) -> None:
    write(records, "packed.pt2", zipfile.ZIP_DEFLATED)
    Path("empty.pt2").touch()
    Path("text.pt2").write_text("hello")
    write(records)
    Path("cut.pt2").write_bytes(Path("net.pt2").read_bytes()[:900])
    for name, said in (
        ("packed", "are compressed"),
        ("empty", "damaged"),
        ("text", "damaged"),
        ("cut", "damaged"),
    ):
        with pytest.raises(BadInputError, match=f"'{name}.pt2' is .*{said}"):
            load_model(f"{name}.pt2")
