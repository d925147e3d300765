"""Writes down all numbers of some networks as one version of Backlight computes them; run once for each version.

    PYTHONPATH=SRC:tests python -m same_numbers.dumping --to FOLDER [--only 'PATTERN']

A dump is a folder with NAME.json (facts by name, and a hash of every array) and NAME.npz (the arrays) for each subject.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import backlight
from same_numbers.atlases import ATLASES
from same_numbers.networks import Size, networks, seed_of

N_SCANNED, TOP, N_IMAGES, N_LAYERS = 12, 3, 2, 6
RULES = {
    **{rules.name: rules for rules in (backlight.DECONVNET, backlight.GUIDED, backlight.GRADIENT)},
    **{
        f"{option}={value}": replace(backlight.DECONVNET, **{option: value, "name": "changed"})
        for option, values in {
            "unpool": ("assign-largest", "assign-last"),
            "average_pool": ("transpose",),
            "lrn": ("frozen", "inverse"),
            "leaky": ("literal",),
            "gates": ("vjp",),
            "squash": ("identity",),
            "rectifier": ("identity",),
        }.items()
        for value in values
    },
}


class Dump:
    """Facts (anything JSON can hold) and arrays of one subject, each under a name that says what it is."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def save(self, folder: Path, name: str) -> None:
        """Write both files; the JSON, which says that the subject is done, last."""
        path = folder / name.replace("/", "--")
        np.savez(path.with_suffix(".npz"), **self.arrays)
        hashes = {key: hash_of(array) for key, array in self.arrays.items()}
        path.with_suffix(".json").write_text(json.dumps({"facts": self.facts, "arrays": hashes}, indent=1))

    def guarded(self, name: str, work: Callable[[], None]) -> None:
        """Do a part of the work; a refusal is a fact like any other: its kind is kept, not its words."""
        try:
            work()
        except backlight.BacklightError as error:
            self.facts[f"{name}: refused"] = type(error).__name__
        except Exception as error:
            self.facts[f"{name}: crashed"] = type(error).__name__


def hash_of(array: np.ndarray) -> str:
    """Return a hash of an array's type, shape and bits."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def dump_network(made: tuple[nn.Module, Size], seed: int) -> Dump:
    """Return everything about a network: layers, classes, what is left out, projections and a scan."""
    (model, size), dump = made, Dump()
    net = backlight.capture(model, size)
    images = pictures(seed, N_SCANNED, size).to(net.dtype)
    dump.facts |= {"input": list(net.input_shape), "outputs": list(net.output_names)}
    dump.facts["fingerprint"] = net.fingerprint()
    for layer in net.layers:
        dump.facts[f"layer {layer.name}"] = describe(layer)
    dump.facts["layers"] = [layer.name for layer in net.layers]
    coverage = net.coverage()
    dump.facts["coverage"] = [[e.operator, str(e.kind), list(e.places)] for e in coverage.entries]
    dump.facts["left out"] = [
        [own.name, own.operator, list(own.shape), own.kind] for own in coverage.left_out
    ]
    for i, output in enumerate(tree_leaves(net(images[:N_IMAGES]))):
        dump.arrays[f"output {i}"] = as_array(output)
    dump.guarded("projections", lambda: _project(dump, net, images[:N_IMAGES]))
    dump.guarded("scan", lambda: _scan(dump, net, images))
    return dump


def pictures(seed: int, count: int, size: Size) -> Tensor:
    """Return seeded images (n, c, h, w): noise beside plateaus, on which windows of pools tie."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *size, generator=generator)
    blocks = torch.randn(count, size[0], 8, 8, generator=generator)
    plateaus = torch.nn.functional.interpolate(blocks, size[1:], mode="nearest")
    noise[..., : size[2] // 2] = plateaus[..., : size[2] // 2]
    return noise


def describe(layer: backlight.Layer) -> dict[str, Any]:
    """Return all that a layer says about itself."""
    field = layer.receptive_field
    return {
        "operator": layer.operator,
        "shape": list(layer.shape),
        "rectified": layer.rectified,
        "default": layer.is_default,
        "order": list(layer.order),
        "field": None
        if field is None
        else {
            "size": list(field.size),
            "stride": [str(stride) for stride in field.stride],
            "offset": [field.rows.offset, field.cols.offset],
            "gates ignored": field.gates_ignored,
            "whole": field.is_whole,
        },
    }


def spread_out(items: Sequence[Any], count: int) -> list[Any]:
    """Return the first, the last and some between, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _project(dump: Dump, net: backlight.Network, images: Tensor) -> None:
    """Project units of some layers, first to last: those that an atlas shows by default, and others."""
    shown = [layer.name for layer in spread_out(net.default_layers, N_LAYERS - 2)]
    others = [layer.name for layer in net.layers if layer not in net.default_layers]
    chosen = [*shown, *spread_out(others, N_LAYERS - len(shown))]
    for at, name in enumerate(chosen):
        rules = list(RULES) if at in (1, len(shown) - 1) else list(RULES)[:3]
        dump.guarded(
            f"layer {name}", lambda name=name, rules=rules: _project_layer(dump, net, images, name, rules)
        )
    if shown:
        key = f"superposition of {shown[-1]}"
        dump.guarded(
            key, lambda: dump.arrays.update({key: as_array(backlight.superpose(net, images[1], shown[-1]))})
        )


def _project_layer(dump: Dump, net: Any, images: Tensor, name: str, rules: Sequence[str]) -> None:
    """Project the strongest unit of each image, and one of the first map by itself, cut out where that pays."""
    units = backlight.strongest(net, images, name)
    dump.facts[f"units of {name}"] = [[unit.channel, unit.row, unit.col] for unit in units]
    for rule in rules:
        key = f"projection of {name} under {rule}"
        dump.guarded(key, lambda key=key, rule=rule: _keep(dump, key, net, images, units, rule))
    first = backlight.strongest(net, images[:1], name, 0)
    key = f"projection of map 0 of {name}"
    dump.guarded(key, lambda: _keep(dump, key, net, images[:1], first, "deconvnet"))


def _keep(dump: Dump, key: str, net: Any, images: Tensor, units: Sequence[Any], rule: str) -> None:
    found, values = backlight.project(net, images, units, RULES[rule], return_activations=True)
    dump.arrays |= {key: as_array(found), f"{key}, activations": as_array(values)}


def _scan(dump: Dump, net: backlight.Network, images: Tensor) -> None:
    found = backlight.scan(net, images, top=TOP, batch_size=5, compile="off")
    for name, layer in found.layers.items():
        for part in (layer.hits, layer.statistics):
            for what in (
                "values",
                "image_ids",
                "places",
                "n_images",
                "sums",
                "maxima",
                "n_active",
                "histogram",
            ):
                if hasattr(part, what):
                    dump.arrays[f"scan of {name}: {what}"] = np.asarray(getattr(part, what))


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array of its own."""
    return tensor.detach().cpu().numpy().copy()


def subjects(pattern: str) -> Iterator[tuple[str, Callable[[Path], Dump]]]:
    """Yield the networks and atlases of that name, each with what dumps it, given a folder for its files."""
    for name, make in networks().items():
        if fnmatch(name, pattern):
            yield name, lambda _, make=make, name=name: dump_network(make(), seed_of(name))
    for name, tables in ATLASES.items():
        if fnmatch(name, pattern):
            yield name, lambda folder, tables=tables: _atlas(tables(folder))


def _atlas(tables: Mapping[str, Any]) -> Dump:
    dump = Dump()
    for name, value in tables.items():
        (dump.arrays if isinstance(value, np.ndarray) else dump.facts)[name] = value
    return dump


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--only", default="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    warnings.simplefilter("ignore")
    args.to.mkdir(parents=True, exist_ok=True)
    print(f"{Path(backlight.__file__).parent} with torch {torch.__version__}", file=sys.stderr)
    for name, work in subjects(args.only):
        if (args.to / f"{name.replace('/', '--')}.json").exists():
            continue
        print(name, file=sys.stderr, flush=True)
        dump = Dump()
        try:
            dump = work(args.to)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            dump.facts["failed"] = type(error).__name__
        dump.save(args.to, name)
        gc.collect()


if __name__ == "__main__":
    main()
