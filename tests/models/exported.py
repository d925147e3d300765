"""Programs of torch.export for the tests: their files as records, and changes of them."""

from __future__ import annotations

import io
import json
import os
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


def write(records: Records, path: str = "net.pt2", compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, payload in records.items():
            archive.writestr(f"archive/{name}", payload)


def pickled(value: object) -> bytes:
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()


def with_graph(change: Callable[[dict[str, Any]], None]) -> Callable[[Records], Records]:
    def changed(records: Records) -> Records:
        program = json.loads(records[GRAPH])
        change(program)
        return records | {GRAPH: json.dumps(program).encode()}

    return changed


def check_refused(records: Records, said: str) -> None:
    """Check that a program is refused in one line that says why, and that nothing of it has run."""
    write(records)
    with pytest.raises(
        BadInputError,
        match=f"'net.pt2' is not loaded: .*{said}.*; if you trust it, load it in your own model.py",
    ) as raised:
        load_model("net.pt2")
    assert "\n" not in str(raised.value)
    assert not Path("ran").exists()
