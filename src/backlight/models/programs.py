"""Programs of torch.export: a .pt2 file, loaded without running anything that lies in it.

`torch.export.load` unpickles the sample inputs of a file and, where the file says so, weights, constants and objects;
it loads libraries of machine code, and turns names in the graph into Python source. So the archive is written anew in
memory, with the graph (checked), the weights and the constants alone, and torch loads that.
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

from backlight.errors import BadInputError
from backlight.models.channels import input_of_graph
from backlight.models.graphs import ForbiddenError, cleaned, on_a_device_here
from backlight.models.loaded import LoadedModel, first_line
from backlight.network.quiet import quiet_torch

_GRAPH = "models/model.json"
_PAYLOADS = ("data/weights/", "data/constants/")
_CONFIG = "_config.json"
_ADVICE = "if you trust it, load it in a model.py of your own and give that (model.py:FUNCTION)"


def from_program(path: Path) -> LoadedModel:
    """Return the model in a .pt2 file.

    Args:
        path: A file that torch.export.save wrote (PyTorch 2.8 or newer). Its sample inputs are not read.

    Raises:
        BadInputError: The file is not there, damaged, of another kind, or holds what only running code could rebuild.
    """
    if not path.is_file():
        raise BadInputError(f"no such file: {str(path)!r}")
    try:
        records = _records(path)
        archive = _rewritten(records)
    except ForbiddenError as error:
        raise BadInputError(f"{str(path)!r} is not loaded: {error}; {_ADVICE}") from error
    except Exception as error:  # whatever zipfile and json find in damaged bytes
        raise BadInputError(
            f"{str(path)!r} is damaged, or no program saved by torch.export.save ({first_line(error)})"
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
    """Return the records of an archive that are needed, by name without its root folder.

    Raises:
        ForbiddenError: It holds machine code and no graph.
        ValueError: It is no archive of torch.export, or is compressed.
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
    """Return an archive of the checked graph and of tensors, without sample inputs and pickles of objects.

    Raises:
        ForbiddenError: Something in it is no tensor, or is no plain graph.
    """
    graph = cleaned(json.loads(records[_GRAPH]))
    pickled = {name for name in records if name.endswith(".pt")}  # the form of PyTorch 2.8
    for name in [name for name in records if name.endswith(_CONFIG)]:
        config = json.loads(records[name])
        pickled |= _pickled(config, name)
        records[name] = json.dumps(on_a_device_here(config)).encode()
    archive = io.BytesIO()
    with PT2ArchiveWriter(archive) as writer:
        writer.write_bytes(_GRAPH, json.dumps(graph).encode())
        writer.write_bytes("data/sample_inputs/model.pt", b"")
        for name, payload in records.items():
            if name != _GRAPH:
                writer.write_bytes(name, _resaved(payload, name) if name in pickled else payload)
    archive.seek(0)
    return archive


def _pickled(config: dict[str, Any], place: str) -> set[str]:
    """Return the records that a list of weights or constants calls pickles.

    Raises:
        ForbiddenError: One is no tensor but an object.
    """
    folder = place.rpartition("/")[0]
    names = set()
    for name, entry in config["config"].items():
        if not str(entry["path_name"]).startswith(("weight_", "tensor_")):
            raise ForbiddenError(f"its constant {name!r} is an object and not a tensor")
        if entry["use_pickle"]:
            names.add(f"{folder}/{entry['path_name']}")
    return names


def _resaved(payload: bytes, name: str) -> bytes:
    """Return a pickle of tensors, written anew, so that whoever unpickles it runs nothing.

    Raises:
        ForbiddenError: It holds more than tensors.
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
