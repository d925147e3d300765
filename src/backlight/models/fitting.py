"""Fitting a weights file to a model: which state dict fits, and with which prefix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from backlight.errors import WeightsError
from backlight.models.checkpoints import StateDict, is_usual

# Tensors that only count something, of norms, averages and profilers.
_COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
# Parts of a name that come from a wrapper inside a model.
_SHELLS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_AVERAGED = re.compile(r"(^|[._])(ema|avg|averaged?|swa)([._]|$)")
_RENAMED = (  # the two forms of weight norm; the names in torchvision's first DenseNet files
    (re.compile(r"\.parametrizations\.(\w+)\.original0$"), r".\1_g"),
    (re.compile(r"\.parametrizations\.(\w+)\.original1$"), r".\1_v"),
    (re.compile(r"^parametrizations\.(\w+)\.original0$"), r"\1_g"),
    (re.compile(r"^parametrizations\.(\w+)\.original1$"), r"\1_v"),
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
)


@dataclass(frozen=True)
class Fit:
    """A state dict matched with a model by name.

    Attributes:
        state: The state dict.
        prefix: What precedes the model's names in the file.
        own: The model's tensors by name.
        found: The file's tensors by the model's names.
        extra: Names in the file, with their prefix, that the model does not have, except for counters.
        integers: The model's integer buffers, which may be missing.
        remarks: What else was done to match the names.
    """

    state: StateDict
    prefix: str
    own: Mapping[str, Tensor]
    found: Mapping[str, Tensor]
    extra: tuple[str, ...]
    integers: frozenset[str]
    remarks: tuple[str, ...] = ()

    @cached_property
    def missing(self) -> list[str]:
        """The model's tensors that the file lacks, except counters, integer buffers and further names of one tensor."""
        held = {_memory(self.own[name]) for name in self.found}
        left = [k for k in self.own if k not in self.found and not is_counter(k) and k not in self.integers]
        return [k for k in left if _memory(self.own[k]) not in held]

    @cached_property
    def reshaped(self) -> list[str]:
        """The tensors whose shape is different in the file."""
        return [k for k, v in self.found.items() if v.shape != self.own[k].shape and not is_counter(k)]

    @cached_property
    def deeper(self) -> list[str]:
        """Extra tensors in parts that the model has too: the file belongs to a larger model of the same kind."""
        parts = {_part_of_model(name) for name in self.own}
        extra = [name for name in self.extra if name.startswith(self.prefix)]
        return [name for name in extra if _part_of_model(name.removeprefix(self.prefix)) in parts]

    @property
    def is_whole(self) -> bool:
        """Whether the file has every tensor of the model in its shape, and does not belong to a larger model."""
        return bool(self.found) and not (self.missing or self.reshaped or self.deeper)

    @property
    def is_averaged(self) -> bool:
        """Whether its key or prefix says that it is a running average of the weights."""
        return bool(_AVERAGED.search(f"{self.state.place}.{self.prefix}".lower()))

    @property
    def label(self) -> str:
        """Its place in the file: key and prefix."""
        parts = [f"key {self.state.place!r}"] if self.state.place else []
        return ", ".join(parts + ([f"prefix {self.prefix!r}"] if self.prefix else [])) or "no prefix"


def best_fit(model: nn.Module, states: Sequence[StateDict], path: str, spec: str) -> Fit:
    """Return the state dict and the prefix that fit a model, or the closest if none does.

    If several fit, the weights themselves come before their running averages, and an earlier key before a later one.

    Raises:
        WeightsError: Two different sets of weights fit, and nothing says which is meant.
    """
    fits = [fit for state in states for fit in _possible_fits(model, state)]
    whole = [fit for fit in fits if fit.is_whole]
    if not whole:
        return max(fits, key=lambda fit: len(fit.found) - len(fit.reshaped))  # the first of equals
    plain = [fit for fit in whole if not fit.is_averaged] or whole
    chosen = plain[0]
    for other in plain[1:]:
        alike = other.state is chosen.state or not (is_usual(chosen.state) or is_usual(other.state))
        if alike and not _same_values(chosen, other):
            raise WeightsError(
                f"{path!r} contains two sets of weights that fit {spec} ({chosen.label}; {other.label}); save the "
                "state dict of the one that you want"
            )
    return chosen


def _possible_fits(model: nn.Module, state: StateDict) -> Iterator[Fit]:
    """Yield the ways to match a state dict with a model: one for each prefix under which names agree, best first."""
    own = {
        k: v for k, v in model.state_dict().items() if isinstance(v, Tensor) and not nn.parameter.is_lazy(v)
    }
    tensors = state.tensors
    trainable = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    integers = frozenset(k for k, v in own.items() if k not in trainable and is_integer(v))
    tried = None
    # First the names as they are (but for known renames), then without the wrappers inside them.
    for spelt in (_renamed, _bare):
        names, theirs = {spelt(k): k for k in own}, {spelt(k): k for k in tensors}
        if (names, theirs) == tried or len(names) < len(own) or len(theirs) < len(tensors):
            continue  # the names are the same as before, or two names became one
        tried = names, theirs
        for prefix, shell in _prefixes(names, theirs):
            keys = {own_name: prefix + name.removeprefix(shell) for name, own_name in names.items()}
            found = {name: tensors[theirs[key]] for name, key in keys.items() if key in theirs}
            left = theirs.keys() - set(keys.values())
            extra = tuple(
                k for k in theirs if k in left and not is_counter(k) and not is_integer(tensors[theirs[k]])
            )
            remarks = [f"the model's own prefix {shell!r} is added"] if shell else []
            if spelt is _bare:
                remarks.append("wrappers inside the names, such as '_orig_mod.', are ignored")
            yield Fit(state, prefix, own, found, extra, integers, tuple(remarks))


def _prefixes(names: Mapping[str, str], theirs: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs of a prefix in the file and one in the model that correspond, the most frequent first."""
    # Shells are the prefixes that all names of the model share.
    shells = [""]
    first = next(iter(names), "")
    for end in (i + 1 for i, c in enumerate(first) if c == "."):
        if all(name.startswith(first[:end]) for name in names):
            shells.append(first[:end])
    # For each pair, count the names that agree once both prefixes are removed.
    tally: Counter[tuple[str, str]] = Counter({("", ""): 0})
    for shell in shells:
        bare = {name.removeprefix(shell) for name in names}
        for key in theirs:
            for start in (0, *(i + 1 for i, c in enumerate(key) if c == ".")):
                if key[start:] in bare:
                    tally[key[:start], shell] += 1
    return [pair for pair, _ in tally.most_common(8)]


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name


def _bare(name: str) -> str:
    """Return a name without the wrappers inside a model."""
    return ".".join(part for part in _renamed(name).split(".") if part not in _SHELLS)


def _part_of_model(name: str) -> str:
    """Return the part of a model that a tensor belongs to, without digits: `layer1` and `layer2` are the same part."""
    return re.sub(r"\d+", "", name.partition(".")[0])


def is_counter(name: str) -> bool:
    """Return whether a tensor only counts something, according to its name."""
    return name.rpartition(".")[2] in _COUNTERS


def is_integer(tensor: Tensor) -> bool:
    """Return whether a tensor holds integers or booleans and is not quantised."""
    return not tensor.is_quantized and not tensor.is_floating_point() and not tensor.is_complex()


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """Return a key that is equal for two names of the same tensor, and different for any other tensor."""
    is_shared = tensor.layout == torch.strided and not tensor.is_meta and tensor.numel()
    return (tensor.data_ptr(), tensor.shape, tensor.stride()) if is_shared else (id(tensor),)


def _same_values(one: Fit, other: Fit) -> bool:
    """Return whether two fits give the model the same values."""
    return all(_equal(tensor, other.found.get(name)) for name, tensor in one.found.items())


def _equal(one: Tensor, other: Tensor | None) -> bool:
    if other is None or (one.dtype, one.layout, one.is_meta) != (other.dtype, other.layout, other.is_meta):
        return False
    return one.is_meta or torch.equal(one.to_dense(), other.to_dense())
