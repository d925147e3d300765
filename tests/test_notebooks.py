"""The notebooks of examples/ run from top to bottom, and are kept without their outputs.

Each takes up to twenty seconds: it is the whole of what a reader runs, on the demo's network.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["comparing_checkpoints", "evidence", "first_look"]
    page = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    in_order = ["first_look", "evidence", "comparing_checkpoints"]
    assert re.findall(r"examples/(\w+)\.ipynb\)", page) == in_order
    assert re.findall(r"^notebooks/(\w+)$", page, re.MULTILINE) == in_order


@notebooks
def test_it_is_kept_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@notebooks
def test_it_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
