"""Coverage: which models can be captured, and whether every operator between layers and pixels has a rule.

Takes every classifier of torchvision, the smallest model of every family of timm, and Backlight's own two
networks; captures each with random weights at its native size, and projects one unit of its deepest default
layer. Prints a table and writes benchmarks/results/coverage.json. Nothing is downloaded.

    python benchmarks/coverage.py [--zoo torchvision|timm|all|others] [--only 'PATTERN'] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import fx, nn

from backlight import capture, project
from backlight.errors import CaptureError, UnsupportedOperatorError
from backlight.network import Layer, Network, OperatorClass
from backlight.network.unseen import unseen_convolutions
from backlight.operators.reading import aten, operator_name, packet
from backlight.operators.table import operator_of
from backlight.projection.units import strongest_units
from exactness import fields_hold, same_answer, same_gradient
from other_zoos import PACKAGES
from zoos import Candidate, build, candidates

RESULTS = Path(__file__).parent / "results" / "coverage.json"
RECURRENT = {aten.lstm, aten.gru, aten.rnn_tanh, aten.rnn_relu}
MATRIX_PRODUCTS = {
    aten.scaled_dot_product_attention,
    aten.matmul,
    aten.bmm,
    aten.mm,
    aten.baddbmm,
    aten.einsum,
}


@dataclass(frozen=True)
class Row:
    """The results for one model.

    Attributes:
        zoo: torchvision, timm or backlight.
        family: The zoo's module that the model is defined in.
        model: Its name in the zoo.
        captured: `yes`, else the first line of the error.
        operators: Kinds of operators between the default layers and the pixels.
        unsupported: Those of them that no rule covers; below the output if there are no default layers.
        above: Operators without a rule between the output and the default layers.
        layers: Default layers.
        maps: Their feature maps.
        local: Default layers whose units see only part of the image.
        gated: Those that do so except for the factor of a gate, which sees more.
        whole: Those whose units see the whole image.
        unseen: Convolutions on the way to the output that no layer shows and that are not reported as left out.
        answer: `yes` if the network returns what the model returns, else how far it is off.
        gradient: `yes` if the projection by GRADIENT is the derivative, in the deepest layer, else how far it is off.
        field: `yes` if gradients stay inside the fields of some layers, `none` if there are no such fields.
        projects: `yes` if the projection of a unit of the deepest default layer is finite and not all zero.
        note: `experimental` where the network has attention, `recurrent` where it has an LSTM or the like.
        seconds: Time for all of it.
    """

    zoo: str
    family: str
    model: str
    captured: str
    operators: int = 0
    unsupported: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    layers: int = 0
    maps: int = 0
    local: int = 0
    gated: int = 0
    whole: int = 0
    unseen: tuple[str, ...] = ()
    answer: str = "no"
    gradient: str = "none"
    field: str = "no"
    projects: str = "no"
    note: str = ""
    seconds: float = 0.0


def measure(candidate: Candidate) -> Row:
    """Return the results of capture, coverage and one projection of a model; a failure is recorded in the row."""
    torch.manual_seed(0)
    start = time.perf_counter()
    names = asdict(candidate)
    try:
        model, size = build(candidate)
        net = capture(model, size)
        found = _describe(net)
    except CaptureError as error:
        return Row(**names, captured=_line(error), seconds=time.perf_counter() - start)
    except Exception as error:
        text = f"{type(error).__name__}: {_line(error)}"
        return Row(**names, captured=text, seconds=time.perf_counter() - start)
    found |= _checked(net, model)
    projects = _projects(net)
    return Row(**names, captured="yes", **found, projects=projects, seconds=time.perf_counter() - start)


def _checked(net: Network, model: nn.Module) -> dict[str, object]:
    """Return how the network compares with the model and with automatic differentiation; failures are recorded."""
    image = torch.randn(1, *net.input_shape)
    layer = next(reversed(net.default_layers or net.layers), None)
    checks = {"answer": lambda: same_answer(net, model, image), "field": lambda: fields_hold(net, image)}
    if layer is not None:
        checks["gradient"] = lambda: same_gradient(net, image, layer)
    found: dict[str, object] = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {_line(error)}"
    if layer is not None and str(found["gradient"]).startswith("off"):
        # Rounding can open a rectifier of a deep network, so the check is repeated in float64.
        exact = capture(model.double(), net.input_shape)
        found["gradient"] = same_gradient(exact, image.double(), exact.layer(layer.name))
    return found


def _describe(net: Network) -> dict[str, object]:
    layers = net.default_layers
    top = net.analysis.path(_output_heads(net))
    below = net.analysis.path(net.node(layer) for layer in layers) if layers else top
    fields_seen = [layer.receptive_field for layer in layers]
    return {
        "operators": len({operator_name(node) for node in below if _is_operator(node)}),
        "unsupported": _unsupported(net, below),
        "above": _unsupported(net, set(top) - set(below)),
        "layers": len(layers),
        "maps": sum(layer.n_maps for layer in layers),
        "local": sum(field is not None and not field.gates_ignored for field in fields_seen),
        "gated": sum(field is not None and field.gates_ignored for field in fields_seen),
        "whole": sum(field is None for field in fields_seen),
        "unseen": unseen_convolutions(net),
        "note": _note(net, top),
    }


def _note(net: Network, path: list[fx.Node]) -> str:
    """Return `experimental` for a network with attention, `recurrent` for an LSTM or the like, else nothing.

    Attention is a matrix product whose operands both depend on the image: positions (or channels) are mixed
    by weights that are computed from the image itself.
    """
    products = [node for node in path if packet(node) in MATRIX_PRODUCTS]
    if any(net.analysis.classify(node) is OperatorClass.GATE for node in products):
        return "experimental"
    return "recurrent" if any(packet(node) in RECURRENT for node in path) else ""


def _output_heads(net: Network) -> list[fx.Node]:
    """Return the nodes that the model returns; the logits where it ends in a softmax."""
    (output,) = (node for node in net.module.graph.nodes if node.op == "output")
    return [
        node.all_input_nodes[0] if operator_of(node).squashes else node for node in output.all_input_nodes
    ]


def _is_operator(node: fx.Node) -> bool:
    return node.op == "call_function" and operator_name(node) != "getitem"


def _unsupported(net: Network, nodes: Iterable[fx.Node]) -> tuple[str, ...]:
    unknown = (n for n in nodes if net.analysis.classify(n) is OperatorClass.UNKNOWN)
    return tuple(sorted({operator_name(node) for node in unknown}))


def _projects(net: Network) -> str:
    """Return `yes` if the strongest unit of the deepest default layer projects to something, else why not."""
    image = torch.randn(1, *net.input_shape)
    layer = next(reversed(net.default_layers or net.layers), None)
    if layer is None:
        return "no layer"
    try:
        return _verdict(net, image, layer)
    except UnsupportedOperatorError:
        return "no rule"
    except Exception as error:
        return f"{type(error).__name__}: {_line(error)}"


def _verdict(net: Network, image: torch.Tensor, layer: Layer) -> str:
    units = strongest_units(net, image, layer.name, 1)
    projection = project(net, image, units)
    if not projection.isfinite().all():
        return f"not finite, from {layer.name}"
    return "yes" if projection.any() else f"all zero, from {layer.name}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


COLUMNS = {
    "family": lambda row: row.family,
    "model": lambda row: row.model,
    "captured": lambda row: row.captured,
    "operators": lambda row: str(row.operators),
    "unsupported": lambda row: ", ".join(row.unsupported) or "none",
    "above": lambda row: ", ".join(row.above) or "none",
    "layers": lambda row: str(row.layers),
    "maps": lambda row: str(row.maps),
    "local / gated / whole": lambda row: f"{row.local} / {row.gated} / {row.whole}",
    "convolutions without a layer": lambda row: str(len(row.unseen)),
    "answer": lambda row: row.answer,
    "gradient": lambda row: row.gradient,
    "field": lambda row: row.field,
    "projects": lambda row: row.projects.partition(":")[0],
    "note": lambda row: row.note,
}


def print_table(rows: list[Row]) -> None:
    """Print the rows at the width of the terminal, or in full width to a pipe."""
    console = Console() if sys.stdout.isatty() else Console(width=240)
    table = Table(*COLUMNS, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(cell(row) for cell in COLUMNS.values()))
    console.print(table)
    console.print(summary(rows))


def markdown(rows: list[Row]) -> str:
    """Return the rows as markdown tables, one per zoo, and the totals."""
    parts = [f"Measured with {versions()}.", summary(rows)]
    for zoo in dict.fromkeys(row.zoo for row in rows):
        lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
        lines += [
            f"| {' | '.join(cell(row).replace('|', chr(92) + '|') for cell in COLUMNS.values())} |"
            for row in rows
            if row.zoo == zoo
        ]
        parts += [f"### {zoo}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def summary(rows: list[Row]) -> str:
    """Return the totals in one line."""
    conv = [row for row in rows if not row.note]
    clean = [row for row in conv if row.captured == "yes" and not row.unsupported and not row.above]
    return (
        f"{len(rows)} models: {sum(row.captured == 'yes' for row in rows)} captured, "
        f"{sum(row.projects == 'yes' for row in rows)} project; "
        f"of the {len(conv)} convolutional ones, {len(clean)} have a rule for every operator up to the output; "
        f"of all, {sum(not row.unsupported for row in rows)} have one for every operator below a default layer; "
        f"{sum(len(row.unseen) for row in rows)} convolutions before an output have no layer and are not reported"
    )


def versions() -> str:
    """Return the versions that the result depends on."""
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", choices=["torchvision", "timm", "all", "others", *PACKAGES], default="all")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="families (of torchvision also models)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to FILE")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen, rows, start = list(candidates(options.zoo, options.only)), [], time.perf_counter()
    for n_done, candidate in enumerate(chosen, start=1):
        row = measure(candidate)
        rows.append(row)
        _write(rows, options.markdown)
        gc.collect()
        left = (time.perf_counter() - start) / n_done * (len(chosen) - n_done)
        print(
            f"{n_done}/{len(chosen)} {row.zoo}:{row.model} {row.seconds:.0f} s, {left / 60:.0f} min left",
            *(f"[{text}]" for text in (row.captured, row.projects) if text != "yes"),
            file=sys.stderr,
            flush=True,
        )
    print_table(rows)


def _write(rows: list[Row], markdown_path: Path | None) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    report = {"versions": versions(), "summary": summary(rows), "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(report, indent=1))
    if markdown_path:
        markdown_path.write_text(markdown(rows))


if __name__ == "__main__":
    main()
