"""Programs of torch.export: they compute what was exported, and no code from the file is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backlight.errors import BadInputError
from backlight.models import load_model

Records = dict[str, bytes]
GRAPH = "models/model.json"
ATTACK = "__import__('os').system('touch ran')"


class Net(nn.Module):
    """A constant, a buffer that is not saved, a part without gradient, and outputs in a tree."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.full((4, 1, 1), 3.0), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Any]:
        with torch.no_grad():
            y = self.conv(x)
        return {"maps": torch.relu(self.norm(y)) * torch.tensor(2.0) * self.scale, "more": (y, [y])}


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def exported(**shapes: object) -> tuple[nn.Module, Records]:
    net = Net().eval()
    written = io.BytesIO()
    program = torch.export.export(
        net, (torch.zeros(2, 3, 8, 9),), dynamic_shapes=({0: torch.export.Dim.AUTO, **shapes},)
    )
    torch.export.save(program, written)
    with zipfile.ZipFile(written) as archive:
        return net, {e.filename.partition("/")[2]: archive.read(e) for e in archive.infolist()}


@pytest.fixture(scope="module")
def records() -> Records:
    return exported()[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(records: Records, path: str = "net.pt2", compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, payload in records.items():
            archive.writestr(f"archive/{name}", payload)


def pickled(value: object) -> bytes:
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()


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


def _with_graph(change: Callable[[dict[str, Any]], None]) -> Callable[[Records], Records]:
    def changed(records: Records) -> Records:
        program = json.loads(records[GRAPH])
        change(program)
        return records | {GRAPH: json.dumps(program).encode()}

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
    "weight": (_with_config("weights", _pickled_weight), "'data/weights/weight_1' is a pickle of more than tensors"),
    "constant": (_with_config("constants", _pickled_constant), "is a pickle of more than tensors"),
    "object": (_with_config("constants", _object("opaque_obj_0")), "constant 'scale' is an object"),
    "script object": (_with_config("constants", _object("custom_obj_0")), "constant 'scale' is an object"),
    "all weights": (lambda r: r | {"data/weights/model.pt": pickled(Runs())}, "is a pickle of more than tensors"),
    "all constants": (lambda r: r | {"data/constants/model.pt": pickled(Runs())}, "is a pickle of more than tensors"),
    "operator": (_with_graph(_calls), "operator 'torch.os.system' is not one of PyTorch's own"),
    "operator as argument": (_with_graph(_passes), "operator 'torch.os.system' is not one of PyTorch's own"),
    "file": (_with_graph(_opens_a_file), "operator 'torch.ops.aten.from_file.default' is not one of"),
    "keyword": (_with_graph(_keyword), "in its graph is not a name"),
    "size": (_with_graph(_size(ATTACK)), "is not a plain expression"),
    "function of a size": (_with_graph(_size("preview(3)")), "is not a plain expression"),
    "attribute of a size": (_with_graph(_size("(3).__class__")), "is not a plain expression"),
    "endless size": (_with_graph(_size("9**9**9**9")), "is not a plain expression"),
    "argument": (_with_graph(_argument), "in its graph is not a name"),
    "import": (
        _with_graph(_tree("collections.defaultdict", {"default_factory_module": "antigravity"})),
        "are in a collections.defaultdict",
    ),
    "enum": (
        _with_graph(_tree("builtins.dict", [{"__enum__": True, "fqn": "antigravity:a", "name": "b"}])),
        "the keys of its inputs or outputs are not plain names or numbers",
    ),
    "input": (_replaced("x", f"x={ATTACK}"), "in its graph is not a name"),
    "weight's name": (_replaced("conv.weight", f'conv.a"+{ATTACK}+"'), "is not the name of a weight"),
    "machine code alone": (
        lambda r: {"data/aotinductor/model/a.so": b"\x7fELF", **{k: v for k, v in r.items() if k != GRAPH}},
        "compiled machine code without a graph",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_code_is_refused(here: Path, records: Records, name: str) -> None:
    change, said = HOSTILE[name]
    write(change(dict(records)))
    with pytest.raises(
        BadInputError,
        match=f"'net.pt2' is not loaded: .*{said}.*; if you trust it, load it in your own model.py",
    ) as raised:
        load_model("net.pt2")
    assert "\n" not in str(raised.value)
    assert not Path("ran").exists()


def test_guards_and_machine_code_are_left_out(here: Path, records: Records) -> None:
    changed = _with_graph(lambda program: program.update(guards_code=[ATTACK]))(dict(records))
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


def test_a_program_of_a_gpu_is_loaded_on_a_machine_without_one(
    here: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    cpu, gpu = b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}'
    write({k: v.replace(cpu, gpu) if k.endswith(".json") else v for k, v in records.items()})
    model = load_model("net.pt2").model
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert model(torch.zeros(2, 3, 8, 9))["maps"].device.type == "cpu"
