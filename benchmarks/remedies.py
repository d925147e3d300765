"""Do remedies remove planted faults, and what do they cost sound networks?

Faults are planted in the ten networks of `faults.py`; for each the remedies are tried, and counted are those after
which the fault is gone and no answer is lost. Images on which a remedy is fitted are not those on which it is measured.
Then the remedies that change what a network computes are tried on the sound networks, and single maps are deleted from
each layer of networks of torchvision. Results are kept row by row: rerunning the command resumes, and more seeds or
networks only add.

    python benchmarks/remedies.py [--networks vgg dense ...] [--seeds 5] [--quick]

Prints tables and writes benchmarks/results/remedies.json; `report.py` puts them into docs/remedies.md.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

import backlight_demo
import cifar_networks
from backlight import Network, capture
from backlight.errors import RemedyError
from backlight.network.eager import run_eagerly
from backlight.studies.diagnosis.remedies import (
    Remedy,
    TrialConfig,
    clip_filters,
    delete_maps,
    estimate_norms,
    even_input,
    filter_rms,
    low_pass,
    one_sided,
    remedies_for,
    try_remedies,
)
from backlight.studies.diagnosis.remedies.low_pass import Blur, BlurredConv2d
from common import SEED, photographs, print_table, read_results, settings_from, write_results
from faults import CIFAR, NAMES, PLANTERS, Planted, Subject, faulty_images, load_subject

PART = "remedies"
KINDS = ("dead", "duplicate", "loud", "uneven", "aliased")
ZOO = ("alexnet", "squeezenet1_1", "resnet18", "mobilenet_v2", "shufflenet_v2_x0_5")
_FITTED, _MULTIPLES, _ALIKE, _SIDE = 100, 30, 0.999, 64


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Of those of `faults.py`.
        seeds: How many faults of each kind are planted in each network.
        images: How many test images of CIFAR-10 the accuracy is measured on.
        photographs: How many photographs the accuracy of the others is measured on.
        zoo: Networks of torchvision, with random weights.
        rounds: How often times are taken.
    """

    networks: tuple[str, ...] = NAMES
    seeds: int = 5
    images: int = 600
    photographs: int = 40
    zoo: tuple[str, ...] = ZOO
    rounds: int = 3


QUICK = Settings(("vgg",), seeds=1, images=20, zoo=("squeezenet1_1",), rounds=1)


def measured_on(subject: Subject, given: Tensor, settings: Settings) -> tuple[Tensor, Tensor | None]:
    """Return the images on which remedies are measured, none of which they were fitted on, and their classes.

    Classes of photographs are those in the names of their files; None where no name is a class.
    """
    images = given[_FITTED:]
    if subject.name in CIFAR:
        return images, cifar_networks.tensors("test")[1][_FITTED : len(given)]
    classes = classes_of_photographs()[_FITTED : len(given)] if subject.name in NAMES else []
    known = [i for i, own in enumerate(classes) if own is not None][: settings.photographs]
    if not known:
        return images[: settings.photographs], None
    return images[known], torch.tensor([classes[i] for i in known])


def classes_of_photographs() -> list[int | None]:
    """Return for each photograph, `n01443537_11099_goldfish.jpg`, the class of ImageNet that it is named for.

    None for a name that is no class's, or that two have.
    """
    names = [re.sub(r"\W", "_", own.lower()) for own in backlight_demo.labels()]
    of = {own: i for i, own in enumerate(names) if names.count(own) == 1}
    return [of.get(re.sub(r"\W", "_", path.stem.lower()).split("_", 2)[-1]) for path in photographs()]


def maps_of(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Return what a module, whose path is its layer's name, gives for images: (c, n x h x w)."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda _, __, out: seen.append(out))
    run_eagerly(model, images)
    hook.remove()
    return seen[0].movedim(1, 0).flatten(1)


def silent_maps(maps: Tensor) -> float:
    """Return how many maps of a layer are zero on all images."""
    return float((maps.amax(1) <= 0).sum())


def equal_pairs(maps: Tensor) -> float:
    """Return how many pairs of a layer's maps are multiples of each other on all images."""
    maps = maps[maps.abs().amax(1) > 0].double()
    maps = maps / maps.norm(dim=1, keepdim=True)
    return float(((maps @ maps.T).triu(1) > _ALIKE).sum())


def loudness(model: nn.Module, net: Network, planted: Planted) -> float:
    """Return the RMS of a map's filter over its layer's median."""
    rms = filter_rms(model, net, planted.layer)
    return float(rms[planted.channel] / rms.median())


def folded(model: nn.Module, images: Tensor, stride: int) -> float:
    """Return the share of the energy, without the mean, that the first sampling by a stride folds."""
    seen: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        own.register_forward_pre_hook(lambda module, given: seen.append((module, given[0])))
        for own in model.modules()
        if isinstance(own, (nn.Conv2d, Blur)) and tuple(own.stride) == (stride, stride)
    ]
    run_eagerly(model, images)
    for hook in hooks:
        hook.remove()
    module, given = seen[0]
    with torch.no_grad():
        maps = _at_every_position(module, given)
    energy = torch.fft.fft2(maps).abs().square()
    energy[..., 0, 0] = 0
    rows, cols = (torch.fft.fftfreq(size).abs() for size in maps.shape[2:])
    fine = torch.maximum(rows[:, None], cols) > 1 / (2 * stride)
    return float((energy * fine).sum() / energy.sum())


def _at_every_position(module: nn.Module, maps: Tensor) -> Tensor:
    """Return what a module with a stride samples."""
    if isinstance(module, Blur):
        dense = Blur(module.wide, samples=False)
        return dense(maps)
    assert isinstance(module, nn.Conv2d)
    maps = module.blur(maps) if isinstance(module, BlurredConv2d) else maps
    return nn.functional.conv2d(maps, module.weight, None, 1, module.padding, module.dilation, module.groups)


def measure_of(
    kind: str, subject: Subject, net: Network, planted: Planted, images: Tensor
) -> Callable[[nn.Module], float]:
    """Return what tells of a model how far a planted fault is still there."""
    by_kind: dict[str, Callable[[nn.Module], float]] = {
        "dead": lambda model: silent_maps(maps_of(model, planted.layer, images)),
        "duplicate": lambda model: equal_pairs(maps_of(model, planted.layer, images)),
        "loud": lambda model: loudness(model, net, planted),
        "uneven": lambda model: float(len(one_sided(subject.recapture(model), planted.layer))),
        "aliased": lambda model: folded(model, images, 4),
    }
    return by_kind[kind]


def is_gone(kind: str, before: float | None, after: float | None) -> bool:
    """Return whether a fault is gone by its measure: one map or pair fewer, a usual RMS, half of the folded energy."""
    if before is None or after is None:
        return False
    limits = {"dead": before - 1, "duplicate": before - 1, "loud": 1.01, "uneven": 0.0, "aliased": before / 2}
    return after <= limits[kind]


def is_kept(row: dict[str, Any]) -> bool:
    """Return whether no accuracy was lost: a change of at least -0.1 points; without labels, all answers but 0.5 %.

    Where the network with the fault gets nothing right, nothing could be lost: there it must surely gain.
    """
    if row["change"] is None:
        return False
    if not row["before"]:
        return bool(row["low"] > 0)
    return bool(row["change"] >= (-0.001 if row["labels"] else -0.005))


def trial_config(subject: Subject, settings: Settings) -> TrialConfig:
    """Return how remedies are tried: photographs take longer than the images of CIFAR-10, so fewer are timed."""
    return TrialConfig(rounds=settings.rounds, timed=8 if subject.name in CIFAR else 2)


def planted_rows(subject: Subject, kind: str, seed: int, settings: Settings) -> list[dict[str, Any]]:
    """Plant a fault and return a row for each of its remedies."""
    # `hash` of a text differs from run to run
    rng = np.random.default_rng([seed, zlib.crc32(f"{subject.name} {kind}".encode())])
    planted = PLANTERS[kind](subject, rng)
    given = faulty_images(kind, subject, rng)
    fitted, (images, labels) = given[:_FITTED], measured_on(subject, given, settings)
    net = subject.recapture(planted.model)
    channels = [] if planted.channel is None else [planted.channel]
    if kind == "duplicate":
        channels += [_most_alike(planted.model, planted, fitted)]
    measure = measure_of(kind, subject, net, planted, fitted[:20])
    few = fitted[:_MULTIPLES]
    remedies = remedies_for(planted.model, net, kind, planted.layer, channels, few)
    if kind == "aliased":  # what of a low-pass's gain is not the low-pass's
        remedies.append(Remedy("norms alone", partial(estimate_norms, planted.model, net, few)))
    remedies = [replace(own, measure=None if _has_no_measure(own.name) else measure) for own in remedies]
    config = trial_config(subject, settings)
    found, _ = try_remedies(planted.model, net, remedies, images, labels, config)
    place = {"network": subject.name, "kind": kind, "seed": seed, "layer": planted.layer}
    return [
        _row(place, kind, own, labels is not None, found.accuracy().mean)
        for own in found.summary()["remedies"]
    ]


def _has_no_measure(remedy: str) -> bool:
    return remedy.startswith("even input")


def _most_alike(model: nn.Module, planted: Planted, images: Tensor) -> int:
    maps = maps_of(model, planted.layer, images[:20])
    off = (maps - maps[planted.channel]).norm(dim=1)
    off[planted.channel] = torch.inf
    return int(off.argmin())


def _row(
    place: dict[str, Any], kind: str, own: dict[str, Any], has_labels: bool, before: float | None
) -> dict[str, Any]:
    keys = (
        "after",
        "change",
        "low",
        "high",
        "p",
        "flops",
        "parameters",
        "time",
        "measure_before",
        "measure_after",
    )
    row = {**place, "remedy": own["remedy"], "labels": has_labels, "done": own["is_done"], "before": before}
    row |= {key: None if own.get(key) is None else round(own[key], 5) for key in keys}
    row["reason"] = None if own["is_done"] else own["done"]
    gone = (
        None if _has_no_measure(own["remedy"]) else is_gone(kind, row["measure_before"], row["measure_after"])
    )
    return row | {"gone": gone, "kept": is_kept(row)}


def sound_rows(subject: Subject, settings: Settings) -> list[dict[str, Any]]:
    """Return a row for each remedy that changes what a network computes, tried on the network without a fault."""
    model, net = subject.model, subject.net
    few, (images, labels) = subject.images[:_MULTIPLES], measured_on(subject, subject.images, settings)
    places = {"after": "low-pass after the rectifier", "before": "low-pass before the convolution"}
    low_passes = {name: partial(low_pass, model, net, place=place) for place, name in places.items()}
    remedies = [
        *(Remedy(name, partial(apply, images=few)) for name, apply in low_passes.items()),
        *(Remedy(f"{name}, old norms", apply) for name, apply in low_passes.items()),
        Remedy("norms alone", partial(estimate_norms, model, net, few)),
        Remedy("even input (pad)", partial(even_input, model, net, "pad")),
        Remedy("even input (resize)", partial(even_input, model, net, "resize")),
        Remedy("clip to RMS 0.1", partial(clip_filters, model)),
    ]
    found, _ = try_remedies(model, net, remedies, images, labels, trial_config(subject, settings))
    place = {"network": subject.name, "kind": "sound"}
    rows = found.summary()["remedies"]
    return [
        _row(place, "sound", own, labels is not None, found.accuracy().mean) | {"gone": None} for own in rows
    ]


def zoo_row(name: str) -> dict[str, Any]:
    """Return in how many layers of a network a map can be deleted exactly, and why not in the others."""
    torch.manual_seed(SEED)
    model = torchvision.models.get_model(name, weights=None).eval()
    net = capture(model, (3, _SIDE, _SIDE))
    reasons: Counter[str] = Counter()
    for layer in net.default_layers:
        try:
            delete_maps(model, net, layer.name, [layer.n_maps // 2])
            reasons["deleted"] += 1
        except RemedyError as error:
            reasons[_reason(str(error))] += 1
    n_deleted = reasons.pop("deleted", 0)
    return {
        "network": name,
        "layers": len(net.default_layers),
        "deleted": n_deleted,
        "reasons": dict(reasons),
    }


_REASONS = {
    "a sum or a product cannot lose": "joined with others in a sum",
    "reads what they are made from too": "what makes it is read elsewhere too",
    "groups": "groups of a fixed width",
    "does not run": "a width is a constant of its forward",
    "mixes them": "mixed with other maps",
    "model returns": "part of the output",
}


def _reason(text: str) -> str:
    return next((short for part, short in _REASONS.items() if part in text), text.partition(": ")[2])


def run(settings: Settings) -> dict[str, Any]:
    """Measure what is not there yet, keep it row by row, and return all of it."""
    torch.set_num_threads(1)
    shared = _shared(settings)
    part = PART if shared == _shared(Settings()) else f"{PART}_quick"
    kept = read_results(part) or {}
    if kept.get("settings") != shared:
        kept = {"settings": shared, "rows": [], "zoo": []}
    done = {(row["network"], row["kind"], row.get("seed")) for row in kept["rows"]}
    seeds = range(settings.seeds)
    cases = [(name, kind, seed) for name in settings.networks for seed in seeds for kind in KINDS]
    # what a remedy costs a sound network can be told where there are labels
    cases += [(name, "sound", None) for name in settings.networks if name in CIFAR]
    for name, group in groupby([own for own in cases if own not in done], key=lambda own: own[0]):
        # a third of the photographs have no class of the network's
        n_images = _FITTED + (settings.images if name in CIFAR else 2 * settings.photographs)
        subject = load_subject(name, n_images)
        for _, kind, seed in group:
            if seed is None:
                kept["rows"] += sound_rows(subject, settings)
            else:
                kept["rows"] += planted_rows(subject, kind, seed, settings)
            write_results(part, kept)
    for name in settings.zoo:
        if name not in {row["network"] for row in kept["zoo"]}:
            kept["zoo"].append(zoo_row(name))
            write_results(part, kept)
    return kept


def _shared(settings: Settings) -> dict[str, int]:
    """Return what all rows of a file have in common: what else is asked for, the rows themselves say."""
    return {key: getattr(settings, key) for key in ("images", "photographs", "rounds")}


def planted_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return for each network and kind in how many plantings a remedy removed the fault without a loss."""
    names = list(dict.fromkeys(row["network"] for row in results["rows"]))
    found = [[name, *(_fixed(results["rows"], name, kind) for kind in KINDS)] for name in names]
    found.append([f"networks of {len(names)}", *(str(n_fixed(results["rows"], kind)) for kind in KINDS)])
    return ["network", *KINDS], found


def _fixed(rows: Sequence[dict[str, Any]], name: str, kind: str) -> str:
    by_seed = fixed_by_seed(rows, name, kind)
    return f"{sum(by_seed.values())} of {len(by_seed)}"


def fixed_by_seed(rows: Sequence[dict[str, Any]], name: str, kind: str) -> dict[int, bool]:
    """Return for each planting whether one of the remedies removed the fault without a loss."""
    found: dict[int, bool] = {}
    for row in rows:
        if (row["network"], row["kind"]) == (name, kind):
            found[row["seed"]] = found.get(row["seed"], False) or bool(row["gone"] and row["kept"])
    return found


def n_fixed(rows: Sequence[dict[str, Any]], kind: str) -> int:
    """Return in how many networks most plantings of a kind were removed without a loss."""
    names = dict.fromkeys(row["network"] for row in rows)
    shares = [list(fixed_by_seed(rows, name, kind).values()) for name in names]
    return sum(2 * sum(own) > len(own) for own in shares if own)


def remedy_table(results: dict[str, Any], sound: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return what each remedy did, over all networks: of planted faults, or on sound networks."""
    rows = [row for row in results["rows"] if (row["kind"] == "sound") == sound]
    keys = dict.fromkeys((row["kind"], row["remedy"]) for row in rows)
    answers = ["answers that stay, %"] if any(not row["labels"] for row in rows) else []
    found = []
    for kind, remedy in sorted(keys, key=lambda own: [*KINDS, "sound"].index(own[0])):
        mine = [row for row in rows if (row["kind"], row["remedy"]) == (kind, remedy)]
        done = [row for row in mine if row["done"]]
        cells = [f"{len(done)} of {len(mine)}"]
        if not sound:
            known = [row for row in done if row["gone"] is not None]
            cells.append(f"{sum(row['gone'] for row in known)} of {len(known)}" if known else "–")
        cells += [_spread([row["change"] for row in done if row["labels"]], 100, "+.1f")]
        if answers:
            cells += [_spread([1 + row["change"] for row in done if not row["labels"]], 100, ".0f")]
        cells += [_spread([row[key] - 1 for row in done], 100, "+.1f") for key in ("flops", "parameters")]
        times = [row["time"] - 1 for row in done if row["time"]]
        cells.append(
            f"{100 * median(times):+.0f}" if times else "–"
        )  # on a busy machine only the median says something
        found.append([remedy if sound else f"{kind}: {remedy}", *cells])
    gone = [] if sound else ["fault gone"]
    header = ["remedy", "could be done", *gone, "accuracy, points", *answers]
    return [*header, "FLOPs, %", "parameters, %", "time, %"], found


def _spread(values: Sequence[float], scale: float, form: str) -> str:
    """Return the median of values with the smallest and the largest."""
    if not values:
        return "–"
    middle, least, most = (f"{scale * own:{form}}" for own in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def zoo_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return for each network of torchvision in how many layers a map can be deleted, and why not in the others."""
    found = []
    for row in results["zoo"]:
        reasons = ", ".join(
            f"{n} {reason}" for reason, n in sorted(row["reasons"].items(), key=lambda own: -own[1])
        )
        found.append([row["network"], str(row["layers"]), str(row["deleted"]), reasons or "–"])
    return ["network", "layers", "can lose a map", "the others"], found


TABLES: dict[str, Callable[[dict[str, Any]], tuple[list[str], list[list[str]]]]] = {
    "planted": planted_table,
    "tried": remedy_table,
    "sound": partial(remedy_table, sound=True),
    "zoo": zoo_table,
}


def main(settings: Settings) -> None:
    """Measure and print."""
    results = run(settings)
    print_table("plantings of which the fault was removed without a loss", *planted_table(results))
    print_table("what each remedy did", *remedy_table(results))
    print_table("what remedies do to sound networks", *remedy_table(results, sound=True))
    print_table("deleting one map", *zoo_table(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs")
    for option in ("networks", "zoo"):
        parser.add_argument(f"--{option}", nargs="*")
    for option in ("seeds", "images", "photographs", "rounds"):
        parser.add_argument(f"--{option}", type=int)
    main(settings_from(parser.parse_args(), Settings(), QUICK))
