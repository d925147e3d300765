"""Damages saved results, adaptive networks and trainings, and loads them: each is as it was or refused in one line.

Run as a program it prints the counts:

Example:
    python tests/fuzz/results.py 1000
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, LayerConfig, Learning
from backlight.adaptive.files import TrainingOrigin, is_finished, read_training, write_training
from backlight.adaptive.training import Training, TrainingState
from backlight.errors import BadInputError
from backlight.storage.arrays import checksum, read_npz
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig

LONGEST_S = 5.0
_MARK = "backlight_code_was_run"


class _Evil:
    """Unpickling it leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"import sys; sys.{_MARK} = True",)


class Case:
    """Files that were saved, how they are loaded, and what loading must give.

    Args:
        folder: Where they are.
        load: Loads them, and returns what can be compared.
    """

    def __init__(self, folder: Path, load: Callable[[], bytes]) -> None:
        self.load = load
        self.files = {path: path.read_bytes() for path in sorted(folder.iterdir())}
        self.expected = load()

    def restore(self) -> None:
        """Put the files back as they were."""
        for path, data in self.files.items():
            path.write_bytes(data)


def make_cases(folder: Path) -> dict[str, Case]:
    """Save a result of each kind into folders of their own."""
    places = {name: folder / name for name in ("result", "network", "training")}
    for place in places.values():
        place.mkdir()
    draw = np.random.default_rng(0)
    index = np.zeros(6, np.int64)
    falls = draw.random((6, 2, 1, 1))
    names = ("deconvnet", "centre"), ("relu1",), ("deconvnet",)
    arrays = index, index + 1, index, draw.random(6), falls, falls[:, :1]
    whole = Faithfulness(FaithfulnessConfig(maps=2), *names, *arrays)
    whole.save(places["result"] / "r")
    config = AdaptiveConfig((LayerConfig(2, filter=3, block=Block(2, 2)),), size=(8, 8), contrast=None)
    images = draw.standard_normal((2, 1, 8, 8)).astype(np.float32)
    AdaptiveDeconvNet(config).save(places["network"] / "n.adn")
    origin, states = TrainingOrigin(config, Learning(epochs=1), "these"), list[TrainingState]()
    Training(config, Learning(epochs=1), images).run(keep=states.append)
    part = places["training"] / "t.part"
    write_training(states[0], origin, part)

    def load_network() -> bytes:
        net = AdaptiveDeconvNet.load(places["network"] / "n.adn")
        return b"".join(own.numpy().tobytes() for own in (*net.filters, net.squared_norms))

    def load_training() -> bytes:
        state = read_training(part, origin)
        is_finished(part)
        return b"".join(np.asarray(own).tobytes() for own in (*state.filters, *state.switches, state.pooled))

    loads = {
        "result": lambda: Faithfulness.load(places["result"] / "r").to_bytes(),
        "network": load_network,
        "training": load_training,
    }
    return {name: Case(places[name], load) for name, load in loads.items()}


def _bytes_changed(data: bytes, draw: Generator) -> bytes:
    """Return bytes with a few changed, cut, doubled, inserted or zeroed."""
    changed, at = bytearray(data), int(draw.integers(len(data)))
    length = int(draw.integers(1, 40))
    match draw.integers(6):
        case 0:
            changed[at] ^= 1 << int(draw.integers(8))
        case 1:
            for place in draw.integers(len(data), size=length):
                changed[place] = int(draw.integers(256))
        case 2:
            del changed[at:]
        case 3:
            changed[at:at] = draw.bytes(length)
        case 4:
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        case _:
            changed[at:at] = changed[at : at + 400]
    return bytes(changed)


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def _hostile_arrays(draw: Generator) -> bytes:
    """Return an .npz, whole as a zip, of what no `save` writes."""
    side = int(draw.choice([2**20, 2**40, 2**62, 10**30]))
    shape = draw.choice([f"({side},)", f"({side}, {side})", f"(-{side},)", "(1.5,)", "(" * 200, "('a',)"])
    kind = draw.choice(["<f8", "|O", "<U0", "|V1", "<U999999999", "[('a','<f8')]", "<M8[s]", "|S0"])
    order = draw.choice(["False", "True", "None"])
    members = {
        "values.npy": _npy(f"{{'descr': {str(kind)!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n"),
        "falls.npy": _npy(
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", pickle.dumps(_Evil())
        ),
        "ranks.npy": pickle.dumps(_Evil()),
        "channels.npy": draw.bytes(50),
        "zeros.npy": _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }\n") + bytes(2**20),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name in draw.choice(list(members), size=int(draw.integers(1, 4)), replace=False):
            out.writestr(str(name), members[str(name)])
    return buffer.getvalue()


def _anything(draw: Generator) -> Any:
    pool = [None, True, -1, 10**400, 1e308, "", "x" * 20, [], {}, [[[]]], {"a": [1]}, [None], "mean", 0.5]
    return pool[int(draw.integers(len(pool)))]


def _hostile_json(text: bytes, npz: bytes, draw: Generator) -> bytes:
    """Return JSON of other values, with the checksum that belongs to it, as somebody with bad intent would write it."""
    if draw.random() < 0.1:
        return b"[" * 100_000 if draw.random() < 0.5 else b'{"a":' * 50_000
    found = json.loads(text)
    target = found if draw.random() < 0.5 else found["values"]
    key = str(draw.choice(list(target)))
    target[key] = _anything(draw)
    found.pop("checksum", None)
    arrays = {name: own for name, own in read_npz(io.BytesIO(npz)).items() if name != "json"}
    return json.dumps(found | {"checksum": checksum(found, arrays)}).encode()


def _damage(case: Case, draw: Generator) -> bool:
    """Damage a case; return whether what it loads may be another result, as its checksum was made anew."""
    paths = list(case.files)
    if len(paths) == 2 and draw.random() < 0.4:
        as_json, as_npz = paths
        if draw.random() < 0.5:
            as_npz.write_bytes(_hostile_arrays(draw))
            return False
        as_json.write_bytes(_hostile_json(case.files[as_json], case.files[as_npz], draw))
        return True
    path = paths[int(draw.integers(len(paths)))]
    path.write_bytes(_bytes_changed(case.files[path], draw))
    return False


def judged(case: Case, may_differ: bool, longest_s: float) -> str:
    """Load a damaged case and return what became of it: `refused`, `as it was`, or what is wrong."""
    start = time.process_time()
    try:
        found = case.load()
    except BadInputError as error:
        verdict = "refused" if len(str(error).splitlines()) == 1 else "MORE THAN ONE LINE"
    except Exception as error:
        verdict = f"RAW {type(error).__name__}: {str(error)[:200]}"
    else:
        verdict = (
            "as it was" if found == case.expected else "another result" if may_differ else "SILENT CHANGE"
        )
    if time.process_time() - start > longest_s:
        verdict = "HANG"
    return "CODE RUN" if hasattr(sys, _MARK) else verdict


def fuzz(count: int, seed: int = 0, longest_s: float = inf) -> Counter[str]:
    """Damage so many files, and return how often each verdict was given; those in capitals are faults."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        cases = list(make_cases(Path(folder)).values())
        for number in range(count):
            draw = np.random.default_rng([seed, number])
            case = cases[number % 2 * int(draw.integers(1, 3))]  # every other one is a result
            case.restore()
            found[judged(case, _damage(case, draw), longest_s)] += 1
    return found


if __name__ == "__main__":
    counts = fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, longest_s=LONGEST_S)
    for verdict, n in counts.most_common():
        print(f"{n:6} {verdict}")
    sys.exit(any(verdict[:2].isupper() for verdict in counts))
