"""The models that the benchmarks use, and how each is built with random weights."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from torch import nn

import other_zoos
from backlight.models import load_model
from backlight.models.zfnet import alexnet_lrn, zfnet

OWN = {"zfnet": (zfnet, 224), "alexnet_lrn": (alexnet_lrn, 227)}


@dataclass(frozen=True)
class Candidate:
    """One model to measure.

    Attributes:
        zoo: torchvision, timm, backlight or one of `other_zoos`.
        family: The zoo's module that defines the model; for `other_zoos`, the zoo itself.
        model: The model's name in the zoo.
    """

    zoo: str
    family: str
    model: str


def candidates(zoo: str, only: str) -> Iterator[Candidate]:
    """Yield the models of a zoo, or of all, whose family or name matches the pattern."""
    if zoo in ("torchvision", "all"):
        yield from (Candidate("backlight", "zfnet", name) for name in OWN if _matches(only, "zfnet", name))
        yield from _torchvision(only)
    if zoo in ("timm", "all"):
        yield from _timm(only)
    if zoo in other_zoos.PACKAGES or zoo == "others":
        for own in other_zoos.PACKAGES if zoo == "others" else (zoo,):
            yield from _other(own, only)


def _matches(pattern: str, *names: str) -> bool:
    return any(fnmatch(name, pattern) for name in names)


def _torchvision(only: str) -> Iterator[Candidate]:
    from torchvision import models

    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        if _matches(only, family, name):
            yield Candidate("torchvision", family, name)


def _timm(only: str) -> Iterator[Candidate]:
    """Yield the model with the fewest parameters of every family (the module that defines it)."""
    import timm
    from timm.models._registry import _model_to_module

    families: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        families[_model_to_module[name]].append(name)
    for family, names in sorted(families.items()):
        if _matches(only, family):
            print(f"{family}: the smallest of {len(names)} models", file=sys.stderr, flush=True)
            yield Candidate("timm", family, min(names, key=_n_parameters))


def _other(zoo: str, only: str) -> Iterator[Candidate]:
    names = [name for name in other_zoos.networks(zoo) if _matches(only, zoo, name)]
    print(f"{zoo}: {len(names)} networks" if names else f"{zoo}: not installed, left out", file=sys.stderr)
    yield from (Candidate(zoo, zoo, name) for name in names)


def _n_parameters(name: str) -> float:
    """Return how many parameters a timm model has; infinity if it cannot be built on the meta device."""
    import timm

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in timm.create_model(name, pretrained=False).parameters())
    except Exception:
        return float("inf")


def build(candidate: Candidate) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the model with random weights and the size of its input.

    Scales that a zoo initialises to 0 are set to 1: without training, a layer behind one would be all zero.
    """
    model, size = _made(candidate)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and not name.endswith("bias") and not parameter.any():
                parameter.fill_(1)
    return model, size


def _made(candidate: Candidate) -> tuple[nn.Module, tuple[int, ...]]:
    if candidate.zoo == "backlight":
        make, side = OWN[candidate.model]
        return make(), (3, side, side)
    if candidate.zoo == "timm":
        import timm

        model = timm.create_model(candidate.model, pretrained=False)
        return model, tuple(model.pretrained_cfg["input_size"])
    if candidate.zoo in other_zoos.PACKAGES:
        return other_zoos.networks(candidate.zoo)[candidate.model]()
    loaded = load_model(f"torchvision:{candidate.model}")
    size = loaded.preprocessing.crop if loaded.preprocessing else (224, 224)
    # Set by vision transformers; not always the size that their weights were trained for.
    side = getattr(loaded.model, "image_size", None)
    return loaded.model, (3, side, side) if side else (3, *size)
