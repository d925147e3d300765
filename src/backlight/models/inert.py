"""A pickle module for `torch.load` that rebuilds tensors and calls nothing else.

Trainers save more than weights: Lightning its hyper-parameters, others a Namespace, paths, NumPy scalars, an
OmegaConf tree, even whole modules. Unpickling those runs any code that the file names. Here every class and
function except torch's own for tensors is replaced by a placeholder that does nothing, so the weights are
read and no code from the file is run.

*Differs* from `weights_only=True`: unknown classes become placeholders where torch refuses the whole file.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Placeholder(dict[Any, Any]):
    """Replaces an object whose class is not restored: it has the object's items and state, but runs nothing.

    Attributes:
        kind: The class or function that the file names, such as `argparse.Namespace`.
        state: What the object's `__dict__` would be; empty if it has none.
    """

    kind = "unknown"
    dump_patches = False  # old files: torch would write out how a class's source has changed
    state: dict[str, Any]

    def __new__(cls, *_args: object, **_kwargs: object) -> Placeholder:
        """Return an empty placeholder; a pickle may skip `__init__`, so the state is created here."""
        placeholder = super().__new__(cls)
        placeholder.state = {}
        return placeholder

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        while isinstance(state, tuple) and state:  # (state, slots): the first holds the attributes
            state = state[0]
        self.state = dict(state) if isinstance(state, dict) else {}

    def append(self, _item: object) -> None:
        """Accept an item of a list, and discard it."""

    def extend(self, _items: object) -> None:
        """Accept the items of a list, and discard them."""

    def add(self, _item: object) -> None:
        """Accept an item of a set, and discard it."""

    def __call__(self, *_args: object, **_kwargs: object) -> Placeholder:
        """Return itself, as the result of calling something unknown."""
        return self

    def __hash__(self) -> int:  # type: ignore[override]  # it may be the key of a dict in the file
        return id(self)


class _Rebuild:
    """A function that the file may call; unlike a plain function, it has no attributes that the file could set."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        """Return the result of the function."""
        return self._function(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("the file tries to change how its tensors are rebuilt")


def _rebuilt_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """Return the tensor over a storage, without hooks and attributes."""
    tensor: Tensor = torch._utils._rebuild_tensor(storage, offset, size, stride)  # type: ignore[no-untyped-call]
    return tensor


def _parameter(data: Any, *_: object) -> Any:
    """Return a parameter's values, without its hooks and state."""
    return data


def _of_type(function: Any, _type: object, args: Any, _state: object) -> Any:
    """Return a tensor of a subclass of Tensor as a plain tensor."""
    return function(*args)


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "torch._utils._rebuild_tensor": _Rebuild(_rebuilt_tensor),
    "torch._utils._rebuild_tensor_v2": _Rebuild(_rebuilt_tensor),
    "torch._utils._rebuild_parameter": _Rebuild(_parameter),
    "torch._utils._rebuild_parameter_with_state": _Rebuild(_parameter),
    "torch._tensor._rebuild_from_type_v2": _Rebuild(_of_type),
    "torch._utils._rebuild_sparse_tensor": _Rebuild(torch._utils._rebuild_sparse_tensor),
    "torch.serialization._get_layout": _Rebuild(torch.serialization._get_layout),
}


class Unpickler(pickle._Unpickler):
    """Reads a pickle, with placeholders for every class and function except those for tensors.

    Based on the pure Python unpickler: the one in C allocates memory for as many objects as a damaged file claims.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name refers to: a function for tensors, a dtype, or a class of placeholders."""
        kind = f"{module}.{name}"
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        if kind in _KNOWN:
            return _KNOWN[kind]
        return type("Placeholder", (Placeholder,), {"kind": kind})


def load(file: Any, **options: Any) -> Any:
    """Return the next object of a file, as `pickle.load` does."""
    return Unpickler(file, **options).load()
