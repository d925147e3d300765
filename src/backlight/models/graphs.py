"""Checks of a serialised graph: it may contain only PyTorch's own operators and plain names.

PyTorch looks up operators by name anywhere in its package, evaluates the expressions of sizes, and writes the names of
inputs and weights into Python source that it then runs. So each is restricted to what `torch.export.save` writes.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Callable
from typing import Any

import torch

_NAMESPACES = ("aten", "prims", "torchvision", "quantized", "quantized_decomposed")
_HIGHER_ORDER = ("wrap_with_set_grad_enabled", "wrap_with_autocast", "cond", "while_loop", "scan", "map_impl")
_PYTHON = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|index|"
    r"lshift|rshift)|math\.(ceil|floor|trunc|sqrt|pow|log2?|exp)|torch\._?sym_\w+"
)
_METADATA = ("nn_module_stack", "stack_trace", "torch_fn")  # layer names are derived from these
# No quotes, brackets or backslashes, because the name becomes Python source.
_WEIGHT_NAME = re.compile(r"[\w. /:+<>|=@#$-]*")
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_FUNCTIONS = re.compile(
    "Integer|Float|Rational|Add|Mul|Pow|Max|Min|Mod|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|(Une|E)quality|"
    "(Strict)?(Less|Greater)Than|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilDiv|(Ceil|Floor|Trunc|Round)ToInt|"
    "TruncToFloat|ToFloat|RoundDecimal|[LR]Shift|PowByNatural|Float(Pow|TrueDiv)|IntTrueDiv|Identity|floor|ceiling|"
    "IsNonOverlappingAndDenseIndicator"
)
_DEVICES = ("device", "as_device")
_LONGEST = 2000
_GREATEST_EXPONENT = 8


class ForbiddenError(Exception):
    """Something in a file that only code could restore, or that torch.export.save does not write."""


def cleaned(value: Any) -> Any:
    """Return a serialised program that can only compute tensors, without guards and unknown metadata.

    Raises:
        ForbiddenError: It contains an operator that is not PyTorch's own, an object, or a malformed name.
    """
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _cleaned_entry(key, held) for key, held in value.items()}


def _cleaned_entry(key: str, held: Any) -> Any:
    if key == "guards_code":
        return []
    if key == "treespec_namedtuple_fields":
        return {}
    if key == "metadata":
        return {k: v for k, v in held.items() if k in _METADATA and isinstance(v, str)}
    if key in _DEVICES:
        return _device(held)
    if key in ("custom_obj_values", "as_custom_obj", "custom_obj") and held:
        raise ForbiddenError("it contains an object that is not a tensor")
    if key in _TABLES:
        for name in held:
            _check_name(name)
    check = _CHECKS.get(key) or (_check_path if key.endswith("_name") else None)
    if check is not None and held is not None and not isinstance(held, dict):
        for one in held if isinstance(held, list) else [held]:
            check(one)
        return held
    return cleaned(held)


def on_a_device_here(value: Any) -> Any:
    """Return a description of tensors in which devices that this machine does not have are replaced by the CPU."""
    if isinstance(value, list):
        return [on_a_device_here(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: _device(v) if k in _DEVICES else on_a_device_here(v) for k, v in value.items()}


def _device(held: Any) -> Any:
    kind = held.get("type") if isinstance(held, dict) else "cpu"
    if kind == "cpu":
        return held
    here = torch.accelerator.current_accelerator(check_available=True)
    return held if here is not None and here.type == kind else {"type": "cpu", "index": None}


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or (name and not name.isidentifier()) or keyword.iskeyword(name):
        raise ForbiddenError(f"{str(name)[:60]!r} in its graph is not a name")


def _check_path(name: Any) -> None:
    if not isinstance(name, str) or not _WEIGHT_NAME.fullmatch(name):
        raise ForbiddenError(f"{str(name)[:60]!r} in its graph is not the name of a weight")


def _check_operator(name: Any) -> None:
    parts = name.split(".") if isinstance(name, str) else []
    if _PYTHON.fullmatch(str(name)):
        return
    if parts[:3] == ["torch", "ops", "higher_order"] and len(parts) == 4 and parts[3] in _HIGHER_ORDER:
        return
    # torch.ops.NAMESPACE.OPERATOR.OVERLOAD must lead to an operator; `from_file` would read files.
    known: Any = torch.ops
    if (
        parts[:2] == ["torch", "ops"]
        and len(parts) == 5
        and parts[2] in _NAMESPACES
        and parts[3] != "from_file"
    ):
        for part in parts[2:]:
            known = getattr(known, part, None)
    if not isinstance(known, torch._ops.OpOverload):
        raise ForbiddenError(f"its operator {str(name)[:60]!r} is not one of PyTorch's own")


def _check_spec(text: Any) -> None:
    """Refuse inputs or outputs that are nested in anything but tuples, lists and dicts with plain keys."""
    _, tree = json.loads(text)
    trees = [tree]
    while trees:
        node = trees.pop()
        trees += node["children_spec"]
        if node["type"] not in _TREES:
            raise ForbiddenError(f"its inputs or outputs are in a {str(node['type'])[:60]}")
        keys = json.loads(node["context"] or "null")
        for key in keys if isinstance(keys, list) else [keys]:
            if isinstance(key, str):
                _check_path(key)
            elif not isinstance(key, (int, type(None))):
                raise ForbiddenError("the keys of its inputs or outputs are not plain names or numbers")


def _check_input_spec(text: Any) -> None:
    """Refuse inputs whose keys are not names: they become the names of a function's arguments."""
    _check_spec(text)
    _, tree = json.loads(text)
    for node in (tree, *tree["children_spec"]):
        for key in json.loads(node["context"] or "null") or ():
            _check_name(key)


def _check_expression(text: Any) -> None:
    """Refuse a size that is more than arithmetic on symbols, because sympy evaluates it as Python."""
    try:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError
        _check_arithmetic(ast.parse(text, mode="eval").body)
    except (ValueError, SyntaxError) as error:
        raise ForbiddenError(f"its size {str(text)[:60]!r} is not a plain expression") from error


def _check_arithmetic(node: ast.expr) -> None:
    """Raise ValueError for anything but names, numbers, arithmetic, comparisons and known functions."""
    match node:
        case ast.Constant(value=bool() | int() | float()):
            return
        case ast.Name(id=name) if not name.startswith("_"):
            return
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str() as name)], keywords=options):
            if not name.isidentifier() or not all(isinstance(o.value, ast.Constant) for o in options):
                raise ValueError
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if _FUNCTIONS.fullmatch(name):
            if name in ("Pow", "PowByNatural", "FloatPow", "LShift"):
                _check_exponent(args[-1])
            for arg in args:
                _check_arithmetic(arg)
        case ast.BinOp(left=left, op=operation, right=right):
            if isinstance(operation, (ast.Pow, ast.LShift)):
                _check_exponent(right)
            _check_arithmetic(left)
            _check_arithmetic(right)
        case ast.UnaryOp(operand=operand):
            _check_arithmetic(operand)
        case ast.Compare(left=left, comparators=others):
            for side in (left, *others):
                _check_arithmetic(side)
        case _:
            raise ValueError


def _check_exponent(node: ast.expr) -> None:
    """Raise ValueError for a power that would exhaust the memory, such as 9**9**9."""
    inner = node.args[0] if isinstance(node, ast.Call) and node.args else node
    inner = inner.operand if isinstance(inner, ast.UnaryOp) else inner
    value = inner.value if isinstance(inner, ast.Constant) else None
    if not isinstance(value, int) or abs(value) > _GREATEST_EXPONENT:
        raise ValueError


_TABLES = ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "range_constraints")
_CHECKS: dict[str, Callable[[Any], None]] = {
    "name": _check_name,
    "as_name": _check_name,
    "forward_arg_names": _check_name,
    "target": _check_operator,
    "as_operator": _check_operator,
    "in_spec": _check_input_spec,
    "out_spec": _check_spec,
    "expr_str": _check_expression,
    "fqn": _check_path,
}
