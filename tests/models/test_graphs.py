"""A program's graph: only PyTorch's own operators and plain names pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backlight.models import load_model
from models.exported import (
    ATTACK,
    Records,
    check_refused,
    with_graph,
    write,
)


def _calls(program: dict[str, Any]) -> None:
    node = program["graph_module"]["graph"]["nodes"][1]
    node["target"] = "torch.os.system"
    node["inputs"] = [{"name": "", "arg": {"as_string": "touch ran"}, "kind": 1}]


def _passes(program: dict[str, Any]) -> None:
    program["graph_module"]["graph"]["nodes"][1]["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}


def _opens_a_file(program: dict[str, Any]) -> None:
    program["graph_module"]["graph"]["nodes"][1]["target"] = "torch.ops.aten.from_file.default"


def _keyword(program: dict[str, Any]) -> None:
    program["graph_module"]["graph"]["nodes"][1]["inputs"][0]["name"] = f"input={ATTACK}"


def _size(text: str) -> Callable[[dict[str, Any]], None]:
    def change(program: dict[str, Any]) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": text, "hint": None}}

    return change


def _argument(program: dict[str, Any]) -> None:
    program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [f"x={ATTACK}"]


def _tree(kind: str, context: object) -> Callable[[dict[str, Any]], None]:
    def change(program: dict[str, Any]) -> None:
        tree = {"type": kind, "context": json.dumps(context), "children_spec": []}
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    return change


def _replaced(old: str, new: str) -> Callable[[Records], Records]:
    def changed(records: Records) -> Records:
        text = {
            k: v.decode().replace(json.dumps(old), json.dumps(new)).encode()
            for k, v in records.items()
            if k.endswith(".json")
        }
        return records | text

    return changed


HOSTILE: dict[str, tuple[Callable[[Records], Records], str]] = {
    "operator": (with_graph(_calls), "operator 'torch.os.system' is not one of PyTorch's own"),
    "operator as argument": (with_graph(_passes), "operator 'torch.os.system' is not one of PyTorch's own"),
    "file": (with_graph(_opens_a_file), "operator 'torch.ops.aten.from_file.default' is not one of"),
    "keyword": (with_graph(_keyword), "in its graph is not a name"),
    "size": (with_graph(_size(ATTACK)), "is not a plain expression"),
    "function of a size": (with_graph(_size("preview(3)")), "is not a plain expression"),
    "attribute of a size": (with_graph(_size("(3).__class__")), "is not a plain expression"),
    "endless size": (with_graph(_size("9**9**9**9")), "is not a plain expression"),
    "argument": (with_graph(_argument), "in its graph is not a name"),
    "import": (
        with_graph(_tree("collections.defaultdict", {"default_factory_module": "antigravity"})),
        "are in a collections.defaultdict",
    ),
    "enum": (
        with_graph(_tree("builtins.dict", [{"__enum__": True, "fqn": "antigravity:a", "name": "b"}])),
        "the keys of its inputs or outputs are not plain names or numbers",
    ),
    "input": (_replaced("x", f"x={ATTACK}"), "in its graph is not a name"),
    "weight's name": (_replaced("conv.weight", f'conv.a"+{ATTACK}+"'), "is not the name of a weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_code_is_refused(here: Path, records: Records, name: str) -> None:
    change, said = HOSTILE[name]
    check_refused(change(dict(records)), said)


def test_a_program_of_a_gpu_is_loaded_on_a_machine_without_one(
    here: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    cpu, gpu = b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}'
    write({k: v.replace(cpu, gpu) if k.endswith(".json") else v for k, v in records.items()})
    model = load_model("net.pt2").model
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert model(torch.zeros(2, 3, 8, 9))["maps"].device.type == "cpu"
