"""Writes docs/operators.md, the page of all operators, from the entries in `backlight.operators`.

    python docs/make_operators.py            # the page, from the entries and docs/operators_in_zoos.json
    python docs/make_operators.py --models   # first look again at which models have which operators (minutes)

The second needs timm, and downloads nothing: weights are random. What stands in the table's cells are the first lines
of the docstrings of the functions that an entry is made of.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from operator import getitem
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

import torch
from torch import nn

import backlight
from backlight.operators.operator import Operator, OperatorClass, Origin
from backlight.operators.reading import every_operand, operator_name
from backlight.operators.table import FAMILIES

PAGE = Path(__file__).with_name("operators.md")
ZOOS = Path(__file__).with_name("operators_in_zoos.json")

# --- which models have an operator ----------------------------------------------------------------------------

# One of the smallest models of each family of torchvision, and of a dozen families of timm.
TORCHVISION = """
resnet18 vgg11 alexnet squeezenet1_1 densenet121 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mnasnet0_5
shufflenet_v2_x0_5 regnet_y_400mf efficientnet_b0 convnext_tiny swin_v2_t vit_b_32 maxvit_t
"""
TIMM = """
resnest14d skresnet18 ghostnet_050 mobilevit_xxs nf_regnet_b0 edgenext_xx_small poolformer_s12 res2net50_14w_8s
lambda_resnet26t eca_botnext26ts_256 mixer_s32_224 xcit_nano_12_p16_224
"""
OWN = "zfnet alexnet_lrn"
SIDE = 64
SIDES = {  # of the input, where a model cannot take SIDE
    **dict.fromkeys(("vit_b_32", "maxvit_t", "mixer_s32_224", "xcit_nano_12_p16_224", "zfnet"), 224),
    **dict.fromkeys(("lambda_resnet26t", "eca_botnext26ts_256"), 256),
    "inception_v3": 96,
    "alexnet_lrn": 227,
}


def _models() -> Iterator[tuple[str, nn.Module, int]]:
    """Yield the name, the model with random weights and the side of its input, of each model to look at."""
    import timm
    import torchvision

    from backlight.models import zfnet

    for name in TORCHVISION.split():
        options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield name, torchvision.models.get_model(name, weights=None, **options), SIDES.get(name, SIDE)
    for name in OWN.split():
        yield f"backlight {name}", getattr(zfnet, name)(), SIDES[name]
    for name in TIMM.split():
        yield f"timm {name}", timm.create_model(name, pretrained=False), SIDES.get(name, SIDE)


def operators_in(model: nn.Module, side: int) -> set[str]:
    """Return the names of the operators on the way from the pixels to a model's output, gates' branches included."""
    net = backlight.capture(model, (3, side, side))
    (output,) = net.module.graph.find_nodes(op="output")
    above = net.analysis.ancestors(output) & net.analysis.dependent
    return {operator_name(node) for node in above if node.op == "call_function"}


def look_at_models() -> dict[str, Any]:
    """Return which operators each model has, in a text, and the versions of the zoos."""
    models = {}
    for name, model, side in _models():
        print(name, file=sys.stderr, flush=True)
        models[name] = " ".join(sorted(operators_in(model, side)))
    versions = {zoo: version(zoo).partition("+")[0] for zoo in ("torch", "torchvision", "timm")}
    return {"versions": versions, "models": models}


# --- the page -------------------------------------------------------------------------------------------------

HEAD = """\
# Operators

What Backlight does with each operator of a captured network. A script writes this page from the entries in
`src/backlight/operators/`, where everything about an operator is in one place; a test holds the two equal. After a
change of an entry, rewrite the page with

```
python docs/make_operators.py
```

[How activations are projected back](rules.md) explains the classes and the rule sets, and why each rule is what it is.

**Class** says what an operator does with a signal in the backward pass: *linear* (the exact adjoint), *selector* (the
recorded switch), *gate* (the recorded factor, held fixed), *rectifier* (the rule set's own rule) or *unknown*. It often
depends on which operands change with the pixels: a product with a constant is linear, a product of two signals a gate.
Operators that are linear in, a rectifier of or a selector of *the first operand* (that they read) are unknown if any
other operand changes with the pixels. Where an operator reads only some of its operands, this column says which.

**Field** says which pixels one entry of the output can see, in terms of what the operands see. *The whole image along*
a dimension means that all rows (or columns) are seen if that dimension is the rows (or columns). An operator without an
entry is followed cell by cell if PyTorch marks it as pointwise; otherwise it sees the whole image.

**deconvnet**, **guided** and **gradient** say what is passed back for a signal r under each [rule set](rules.md) with
its default options. *Its derivative* is PyTorch's; for a linear operator that is the exact adjoint. *Refused* operators
raise an error when they stand between a layer and the pixels, as does any operator where its class is unknown; in the
branch that makes a gate's factor they are recorded and need no rule. Guided differs from deconvnet only at rectifiers.

**Walk** says how the backward pass computes this. A unit's signal fills only a window of each map. Operators that take
most of the time have their *own adjoint* on windows; those that leave every position in its place are differentiated
by PyTorch *on windows*, or merely *pass* the signal *on*. The others are differentiated on *whole maps*, as is any
operator that its own adjoint does not fit (a convolution whose weights come from the image, say). The numbers are the
same.

**Crops** says whether the operator is *local*: away from the crop's edges it gives on a crop of the image what it gives
on the whole image. Units above nothing but local operators can be projected from a crop, which saves time.

{models}

```
python docs/make_operators.py --models
```
"""

MODELS = """\
**Models** names those of {n_models} small models that have the operator between the pixels and their output, gates'
branches included. They are {models}. {rest}They were captured with random weights, by torch {torch}, torchvision
{torchvision} and timm {timm}. Looking at them again takes some minutes:
"""

FUNCTIONS = """\
## Functions that rules put into graphs

What stands in a rewritten graph in place of an operator. Functions without an entry (the frozen norms other than layer
norm, say) are differentiated on whole maps.

| function | what it gives | walk |
|---|---|---|"""

COLUMNS = ("operators", "class", "field", "deconvnet", "guided", "gradient", "walk", "crops", "models")
DERIVATIVE, SAME = "its derivative", "as deconvnet"
GUIDED_RECTIFIER = "max(r, 0) · max(slope, 0)"
OF_TORCH = {torch.detach: "its argument, through which no signal passes"}
N_SHOWN = 2


@dataclass(frozen=True)
class Zoos:
    """Which of the models that were looked at have which operators.

    Attributes:
        versions: Of torch and of the zoos.
        models: The names of each model's operators.
    """

    versions: Mapping[str, str]
    models: Mapping[str, Sequence[str]]

    def having(self, names: Sequence[str]) -> str:
        """Return in words which models have any of these operators: `resnet18, vgg11 and 14 others`."""
        found = [model for model, own in self.models.items() if not set(names).isdisjoint(own)]
        shown, n_more = found[:N_SHOWN], len(found) - N_SHOWN
        if n_more > 0:
            return f"{', '.join(shown)} and {n_more} other{'s' if n_more > 1 else ''}"
        return " and ".join(shown) or "none"

    def without_entry(self, families: Sequence[ModuleType]) -> list[str]:
        """Return the operators of the models that have no entry."""
        known = {name_of(name) for family in families for entry in family.OPERATORS for name in entry.names}
        return sorted({name for own in self.models.values() for name in own} - known)


def name_of(name: str | Callable[..., Any]) -> str:
    """Return an operator's plain name; for a function, its own."""
    return name if isinstance(name, str) else name.__name__


def first_line(function: Callable[..., Any]) -> str:
    """Return the first line of a docstring as a table's cell.

    Raises:
        ValueError: The function has no docstring, so that the table could not say what it does.
    """
    text = (function.__doc__ or "").strip().partition("\n")[0].removesuffix(".")
    if not text:
        raise ValueError(
            f"{function.__module__}.{function.__qualname__} needs a docstring for docs/operators.md"
        )
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def given_by(function: Callable[..., Any]) -> str:
    """Return in words what a function returns, by its docstring."""
    return first_line(function).removeprefix("return ")


def class_of(entry: Operator) -> str:
    """Return an entry's class, or how it follows, and what the operator reads if that is not every operand."""
    kind = (
        entry.kind.value
        if isinstance(entry.kind, OperatorClass)
        else first_line(entry.kind).removeprefix("a ")
    )
    if entry.reads is every_operand:
        return kind
    return f"{kind}. Reads {given_by(entry.reads)}"


def field_of(entry: Operator) -> str:
    """Return what one entry of the output sees; the walks themselves take the parts of a tuple apart."""
    if getitem in entry.names:
        return "what its part of the tuple sees"
    return "the whole image" if entry.field is None else first_line(entry.field)


def rules_of(entry: Operator) -> tuple[str, str, str]:
    """Return what is passed back under deconvnet, guided and gradient."""
    if entry.stands_for is not None:
        return first_line(entry.stands_for), SAME, SAME
    if entry.kind is OperatorClass.UNKNOWN:
        refused = "refused, but for the option `squash`" if entry.squashes else "refused"
        return refused, SAME, DERIVATIVE
    if entry.rule is None:
        return DERIVATIVE, SAME, DERIVATIVE
    guided = GUIDED_RECTIFIER if entry.origin is Origin.RECTIFIED else SAME
    return first_line(entry.rule), guided, DERIVATIVE


def row(cells: Sequence[str]) -> str:
    """Return a row of a table; a bar inside a cell would end it."""
    return f"| {' | '.join(cell.replace('|', r'&#124;') for cell in cells)} |"


def row_of(entry: Operator, zoos: Zoos) -> str:
    """Return the row of an entry."""
    names = [name_of(name) for name in entry.names]
    return row(
        (
            ", ".join(f"`{name}`" for name in names),
            class_of(entry),
            field_of(entry),
            *rules_of(entry),
            "passed on" if getitem in entry.names else entry.adjoint.label,
            "no" if entry.is_local is None else first_line(entry.is_local),
            zoos.having(names),
        )
    )


def is_function(entry: Operator) -> bool:
    """Return whether an entry is of functions that rules put into graphs."""
    return not any(isinstance(name, str) or name is getitem for name in entry.names)


def section(family: ModuleType, zoos: Zoos) -> str:
    """Return the section of a family: its heading and text, from the module's docstring, and its table."""
    title, _, text = (
        (family.__doc__ or "").strip().replace("docs/rules.md", "[rules.md](rules.md)").partition(": ")
    )
    rows = [row_of(entry, zoos) for entry in family.OPERATORS if not is_function(entry)]
    head = [row(COLUMNS), row(["---"] * len(COLUMNS))]
    return "\n".join([f"## {title}", "", text[:1].upper() + text[1:], "", *head, *rows])


def models_in_words(zoos: Zoos, families: Sequence[ModuleType]) -> str:
    """Return the paragraph on the models that were looked at."""
    rest = ", ".join(f"`{name}`" for name in zoos.without_entry(families))
    rest = f"Without an entry they have {rest}. " if rest else ""
    text = MODELS.format(n_models=len(zoos.models), models=", ".join(zoos.models), rest=rest, **zoos.versions)
    return fill(" ".join(text.split()), 120, break_on_hyphens=False)


def page(zoos: Zoos, families: Sequence[ModuleType] = FAMILIES) -> str:
    """Return the text of docs/operators.md."""
    entries = [entry for family in families for entry in family.OPERATORS if is_function(entry)]
    functions = [
        row((f"`{name_of(name)}`", OF_TORCH.get(name) or given_by(name), entry.adjoint.label))
        for entry in entries
        for name in entry.names
        if callable(name)
    ]
    with_operators = [f for f in families if not all(map(is_function, f.OPERATORS))]
    head = HEAD.format(models=models_in_words(zoos, families))
    sections = [section(family, zoos) for family in with_operators]
    return "\n\n".join([head.strip(), *sections, "\n".join([FUNCTIONS, *functions])]) + "\n"


def saved_zoos() -> Zoos:
    """Return what was found when the models were looked at last."""
    saved = json.loads(ZOOS.read_text())
    return Zoos(saved["versions"], {name: names.split() for name, names in saved["models"].items()})


def main() -> None:
    """Write the page, and with `--models` first the file that says which models have which operators."""
    if "--models" in sys.argv[1:]:
        ZOOS.write_text(json.dumps(look_at_models(), indent=1) + "\n")
    PAGE.write_text(page(saved_zoos()))


if __name__ == "__main__":
    main()
