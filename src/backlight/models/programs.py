"""Programs of torch.export: .pt2 files, loaded without running any code from them.

`torch.export.load` unpickles the sample inputs of a file and, if the file says so, weights, constants and objects;
it loads libraries of machine code, and turns names in the graph into Python source. So the archive is rewritten in
memory with only the (checked) graph, the weights and the constants, and torch loads that.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.pt2_archive import PT2ArchiveWriter

from backlight.errors import BadInputError, first_line
from backlight.models.channels import input_of_graph
from backlight.models.graphs import ForbiddenError, cleaned, on_a_device_here
from backlight.models.loaded import LoadedModel
from backlight.network.quiet import quiet_torch

_GRAPH = "models/model.json"
_PAYLOADS = ("data/weights/", "data/constants/")
_CONFIG = "_config.json"
_ADVICE = "if you trust it, load it in your own model.py and give that (model.py:FUNCTION)"


def from_program(path: Path) -> LoadedModel:
    """Return the model in a .pt2 file.

    Args:
        path: A file written by torch.export.save (PyTorch 2.8 or newer). Its sample inputs are not read.

    Raises:
        BadInputError: The file is missing, damaged, of another kind, or contains what only its own code could restore.
    """
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    try:
        records = _records(path)
        archive = _rewritten(records)
    except ForbiddenError as error:
        raise BadInputError(f"{str(path)!r} is not loaded: {error}; {_ADVICE}") from error
    except Exception as error:  # anything that zipfile and json raise for damaged bytes
        raise BadInputError(
            f"{str(path)!r} is damaged, or not a program saved by torch.export.save ({first_line(error)})"
        ) from error
    try:
        with quiet_torch():
            module = torch.export.load(archive).module(check_guards=False)
    except Exception as error:
        raise BadInputError(
            f"{str(path)!r} cannot be loaded by PyTorch {torch.__version__} ({first_line(error)[:200]}); export and "
            "save the model again with this version"
        ) from error
    channels, size = input_of_graph(module.graph)
    return LoadedModel(module, None, False, str(path), channels=channels, size=size)


def _records(path: Path) -> dict[str, bytes]:
    """Return the records of an archive that are needed, by their names without the root folder.

    Raises:
        ForbiddenError: It contains machine code and no graph.
        ValueError: It is not an archive of torch.export, or is compressed.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        if _GRAPH not in entries:
            if any(name.startswith("data/aotinductor/") for name in entries):
                raise ForbiddenError("it is compiled machine code without a graph (AOTInductor)")
            old = "serialized_exported_program.json" in {entry.filename for entry in archive.infolist()}
            raise ValueError("saved by PyTorch before 2.8; save it again" if old else f"it has no {_GRAPH}")
        wanted = {name: e for name, e in entries.items() if name == _GRAPH or name.startswith(_PAYLOADS)}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in wanted.values()):
            raise ValueError("its records are compressed, which torch.export.save does not do")
        return {name: archive.read(entry) for name, entry in wanted.items() if not name.endswith("/")}


def _rewritten(records: dict[str, bytes]) -> io.BytesIO:
    """Return an archive with only the checked graph and tensors, without sample inputs and pickled objects.

    Raises:
        ForbiddenError: It contains something that is not a tensor, or a graph that may run code.
    """
    graph = cleaned(json.loads(records[_GRAPH]))
    pickled = {name for name in records if name.endswith(".pt")}  # the format of PyTorch 2.8
    for name in [name for name in records if name.endswith(_CONFIG)]:
        config = json.loads(records[name])
        pickled |= _pickled(config, name)
        records[name] = json.dumps(on_a_device_here(config)).encode()
    archive = io.BytesIO()
    with PT2ArchiveWriter(archive) as writer:
        writer.write_bytes(_GRAPH, json.dumps(graph).encode())
        writer.write_bytes(
            "data/sample_inputs/model.pt", b""
        )  # torch expects the record, and accepts it empty
        for name, payload in records.items():
            if name != _GRAPH:
                writer.write_bytes(name, _resaved(payload, name) if name in pickled else payload)
    archive.seek(0)
    return archive


def _pickled(config: dict[str, Any], place: str) -> set[str]:
    """Return the records that a list of weights or constants declares as pickles.

    Raises:
        ForbiddenError: One is an object, not a tensor.
    """
    folder = place.rpartition("/")[0]
    names = set()
    for name, entry in config["config"].items():
        if not str(entry["path_name"]).startswith(("weight_", "tensor_")):
            raise ForbiddenError(f"its constant {name!r} is an object, not a tensor")
        if entry["use_pickle"]:
            names.add(f"{folder}/{entry['path_name']}")
    return names


def _resaved(payload: bytes, name: str) -> bytes:
    """Return a pickle of tensors, written again so that unpickling it runs no code.

    Raises:
        ForbiddenError: It contains more than tensors.
    """
    try:
        held = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ForbiddenError(f"its record {name!r} is a pickle of more than tensors") from error
    values = held.values() if isinstance(held, dict) else (held,)
    if not all(isinstance(value, Tensor) for value in values):
        raise ForbiddenError(f"its record {name!r} is a pickle of more than tensors")
    written = io.BytesIO()
    torch.save(held, written)
    return written.getvalue()
