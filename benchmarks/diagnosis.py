"""Diagnosis: are planted faults found, and are sound networks left alone?

Faults of seven kinds are planted in ten trained networks (`faults.py`), 200 in all, and each network is diagnosed: how
many are found, in the layer and the map where they were planted? And the ten networks as they were trained are
diagnosed over one half of the images, and again over the other half. A trained network has faults of its own: dead
maps, detectors of the padding. An accusation is false where the other images do not confirm it. What follows from
arithmetic alone (padding, receptive fields) needs no images and is left out. Of what the weights alone say (RMS,
frequencies) other images can confirm nothing: each such accusation counts as false.

Results are kept after each network and planting, and rerunning the command resumes. Prints tables and writes
benchmarks/results/diagnosis.json; `report.py` puts it into docs/diagnosis.md.

    python benchmarks/diagnosis.py [--plantings 200] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from backlight.studies.diagnosis import KINDS, Diagnosis, run
from backlight.studies.intervals import share_interval
from common import print_table, read_results, settings_from, write_results
from faults import CIFAR, NAMES, PLANTERS, NoPlaceError, Subject, faulty_images, load_subject

PART = "diagnosis"
EXPECTED = {
    "dead": "dead",
    "duplicate": "duplicate",
    "loud": "loud",
    "aliased": "aliased",
    "border": "border",
    "uneven": "uneven",
    "two_causes": "causes",
}
"""By planted fault the kind of the finding."""
ARITHMETIC = ("uneven", "field")
FROM_WEIGHTS = ("loud", "frequencies")


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        plantings: Faults planted in all.
        images: Images of the small networks; each diagnosis takes half of them.
        photographs: Images of SqueezeNet and the demo's network.
        names: The networks.
    """

    plantings: int = 200
    images: int = 1000
    photographs: int = 160
    names: tuple[str, ...] = NAMES


QUICK = Settings(plantings=7, images=120, photographs=24, names=("strided",))


def measure(settings: Settings) -> dict[str, Any]:
    """Return the results of all networks, those that are kept already among them."""
    torch.set_num_threads(1)
    part = PART if settings == Settings() else f"{PART}_of_{settings.plantings}"
    kept = read_results(part) or {}
    found = kept if kept.get("settings") == _plain(settings) else {"settings": _plain(settings)}
    planted, sound = found.setdefault("planted", []), found.setdefault("sound", [])
    done = {row["seed"] for row in planted}
    for seed, kind, name in sorted(plantings(settings), key=lambda own: settings.names.index(own[2])):
        if seed not in done:
            planted.append(planted_row(settings, seed, kind, name))
            write_results(part, found)
    known = {row["network"] for row in sound}
    for name in settings.names:
        if name not in known:
            sound.extend(sound_rows(settings, name))
            write_results(part, found)
    return found


def _plain(settings: Settings) -> dict[str, Any]:
    return asdict(settings) | {"names": list(settings.names)}


def plantings(settings: Settings) -> Iterator[tuple[int, str, str]]:
    """Yield the seed, the fault and the network of each planting: every fault in every network in turn.

    After one round of all faults the large networks, which take minutes, leave their turns to the small ones.
    """
    kinds, names = list(PLANTERS), settings.names
    small = [name for name in names if name in CIFAR]
    for seed in range(settings.plantings):
        turn, place = divmod(seed, len(names))  # a turn plants one fault in all networks
        is_own = turn < len(kinds) or names[place] in CIFAR or not small
        yield seed, kinds[turn % len(kinds)], names[place] if is_own else small[(turn + place) % len(small)]


@lru_cache(1)
def _subject(name: str, n_images: int) -> Subject:
    return load_subject(name, n_images)


def planted_row(settings: Settings, seed: int, kind: str, name: str) -> dict[str, Any]:
    """Return whether a planted fault is found; where the network has no place for it, the next one gets it."""
    rng = np.random.default_rng(seed)
    names = settings.names[settings.names.index(name) :] + settings.names
    for own in names:
        subject = _subject(own, settings.images if own in CIFAR else settings.photographs)
        try:
            model, layer, channel = PLANTERS[kind](subject, rng)
            break
        except NoPlaceError:
            continue
    else:
        raise NoPlaceError(f"no network has a place for {kind}")
    # of the large networks the planted layer alone is diagnosed, for time
    layers = None if subject.name in CIFAR else [layer]
    images = faulty_images(kind, subject, rng)[: len(subject.images) // 2]
    result = run(subject.recapture(model), images, layers, n_pictures=0)
    findings = result.of(EXPECTED[kind], layer)
    return {
        "seed": seed,
        "fault": kind,
        "network": subject.name,
        "layer": layer,
        "channel": channel,
        "found": any(channel is None or channel in finding.channels for finding in findings),
    }


def sound_rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return by kind how many maps of a sound network are accused, and of how many the other images confirm it."""
    subject = _subject(name, settings.images if name in CIFAR else settings.photographs)
    half = len(subject.images) // 2
    one, other = (
        run(subject.net, part, n_pictures=0) for part in (subject.images[:half], subject.images[half:])
    )
    return [_sound_row(name, kind, one, other) for kind in KINDS]


def _sound_row(name: str, kind: str, one: Diagnosis, other: Diagnosis) -> dict[str, Any]:
    mine = [own for own in one.looked_for if own.kind == kind]
    accused = _accused(one, kind)
    return {
        "network": name,
        "kind": kind,
        "maps": sum(own.n_maps for own in mine),
        "accused": len(accused),
        "confirmed": 0 if kind in FROM_WEIGHTS else len(accused & _accused(other, kind)),
    }


def _accused(result: Diagnosis, kind: str) -> set[tuple[str, int]]:
    """Return the layers and maps that have a finding; of a finding of a whole layer all of its maps."""
    n_maps = {own.layer: own.n_maps for own in result.looked_for if own.kind == kind}
    return {
        (own.layer, channel)
        for own in result.of(kind)
        for channel in (own.channels or range(n_maps[own.layer]))
    }


def planted_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return by fault how many were planted and found, with the interval of the share."""
    rows = found["planted"]
    lines = []
    for kind in [*PLANTERS, None]:
        mine = [row for row in rows if kind in (None, row["fault"])]
        n_found = sum(row["found"] for row in mine)
        name = "all" if kind is None else kind.replace("_", " ")
        lines.append([name, str(len(mine)), str(n_found), _share(n_found, len(mine))])
    return ["fault", "planted", "found", "recall (95 %)"], lines


def sound_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return by kind how many maps of sound networks are accused, confirmed, and accused falsely."""
    rows, lines = found["sound"], []
    measured = [kind for kind in KINDS if kind not in ARITHMETIC]
    for kind in measured:
        mine = [row for row in rows if row["kind"] == kind]
        lines.append(_sound_line(KINDS[kind].title, mine))
    counted = [row for row in rows if row["kind"] in measured]
    n_maps = _n_maps(rows)
    n_false = sum(row["accused"] - row["confirmed"] for row in counted)
    line = _sound_line("all", counted)
    # a map is counted once, whatever it is accused of
    lines.append([line[0], f"{n_maps:,}", *line[2:4], str(n_false), _share(n_false, n_maps)])
    return ["finding", "maps", "accused", "confirmed", "false", "false alarms (95 %)"], lines


def _sound_line(name: str, rows: list[dict[str, Any]]) -> list[str]:
    n_maps, accused, confirmed = (sum(row[key] for row in rows) for key in ("maps", "accused", "confirmed"))
    n_false = accused - confirmed
    return [name, f"{n_maps:,}", str(accused), str(confirmed), str(n_false), _share(n_false, n_maps)]


def _n_maps(rows: list[dict[str, Any]]) -> int:
    """Return how many maps the networks have: as many as were looked at for being dead."""
    return sum(row["maps"] for row in rows if row["kind"] == "dead")


def _share(count: int, n: int) -> str:
    low, high = share_interval(count, n)
    return f"{count / max(n, 1):.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plantings", type=int)
    parser.add_argument("--quick", action="store_true")
    found = measure(settings_from(parser.parse_args(), Settings(), QUICK))
    print_table("planted faults", *planted_table(found))
    print_table("sound networks", *sound_table(found))


if __name__ == "__main__":
    main()
