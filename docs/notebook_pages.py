"""Pages of the notebooks in examples/, run before Sphinx reads them: text, code, and what the code printed and drew.

A notebook that did not change since it was last run here is not run again.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat

# The first of these that a result has is shown.
_SHOWN = ("image/png", "text/html", "text/plain")


def write_all(examples: Path, folder: Path) -> None:
    """Write a page of each notebook, with its pictures, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(examples.glob("*.ipynb")):
        page = folder / f"{path.stem}.md"
        # a comment of Markdown at the end of the page says which notebook it is of
        mark = f"% {hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()}\n"
        if not page.exists() or not page.read_text("utf-8").endswith(mark):
            page.write_text("\n".join(page_of(ran(path), folder, path.stem)) + f"\n{mark}", "utf-8")


def ran(path: Path) -> Any:
    """Return a notebook with the outputs of its cells, run in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return notebook


def page_of(notebook: Any, folder: Path, name: str) -> Iterator[str]:
    """Yield the lines of a page; pictures are written into the folder."""
    n_pictures = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield from (cell.source, "")
            if number == 0:
                yield from (f"{{download}}`Download this notebook <../../examples/{name}.ipynb>`", "")
            continue
        yield from ("```python", cell.source, "```", "")
        for output in cell.outputs:
            if output.output_type == "stream":
                yield from ("```text", output.text.rstrip(), "```", "")
                continue
            kind = next(own for own in _SHOWN if own in output.data)
            if kind == "image/png":
                n_pictures += 1
                picture = folder / f"{name}-{n_pictures}.png"
                picture.write_bytes(base64.b64decode(output.data[kind]))
                yield from (f"![What this cell draws]({picture.name})", "")
            elif kind == "text/html":
                yield from ("```{raw} html", output.data[kind], "```", "")
            else:
                yield from ("```text", output.data[kind], "```", "")
