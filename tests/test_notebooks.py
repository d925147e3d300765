"""The notebooks of examples/ run from top to bottom, and are kept without their outputs.

Each takes up to twenty seconds: it is the whole of what a reader runs, on the demo's network. `make docs` runs them for
their pages, and fails where a cell does, so that this is left to `make test-all`.
"""

from __future__ import annotations

import base64
import importlib.util
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

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


@pytest.mark.slow
@notebooks
def test_it_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_its_page_has_text_code_and_outputs_in_their_order(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("notebook_pages", ROOT / "docs" / "notebook_pages.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    results = [
        {"image/png": base64.b64encode(b"drawn").decode(), "text/plain": "an image"},
        {"text/html": "<b>a card</b>", "text/plain": "a map"},
        {"text/plain": "92"},
    ]
    cells = [
        new_markdown_cell("# A title"),
        new_code_cell("print(1)", outputs=[new_output("stream", text="1\n")]),
        *(new_code_cell("x", outputs=[new_output("execute_result", data)]) for data in results),
    ]
    page = "\n".join(script.page_of(new_notebook(cells=cells), tmp_path, "first"))
    shown = re.findall(
        r"# A title|print\(1\)|^1$|first-1\.png|<b>a card</b>|^92$|first\.ipynb", page, re.MULTILINE
    )
    assert shown == ["# A title", "first.ipynb", "print(1)", "1", "first-1.png", "<b>a card</b>", "92"]
    assert "an image" not in page
    assert (tmp_path / "first-1.png").read_bytes() == b"drawn"
