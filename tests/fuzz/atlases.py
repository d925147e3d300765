"""The fuzzer of atlases: reads hostile and corrupted ones, and prints what came out.

    PYTHONPATH=tests python -m fuzz.atlases [COUNT [EVERY [SEED]]]

Reading must give exactly what was written or raise one of Backlight's errors: in five seconds of computing, and with
nothing started. `test_atlases.py` tries a few of each.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.mutations import change, changes
from fuzz.tiny import make_old_atlas, make_tiny_atlas
from fuzz.walking import outcome


def hostile(folder: Path, every: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield the name and the outcome of hostile atlases of both formats, one of `every` of them."""
    draw = random.Random(seed)
    for age, make in (("new", make_tiny_atlas), ("old", make_old_atlas)):
        base, path = folder / f"{age}.atlas", folder / "hostile.atlas"
        make(base)
        for name, mutation in changes(base):
            if draw.randrange(every):
                continue
            path.write_bytes(base.read_bytes())
            if change(path, mutation):
                # What a hostile atlas holds is another content, so that its digest says nothing.
                found = outcome(path)
                yield f"{age}: {name}", "read" if found.startswith("same") else found


def corrupted(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield what was changed and the outcome, for single bytes that were changed and files that were cut off."""
    path = folder / "corrupted.atlas"
    make_tiny_atlas(path)
    whole, wanted = path.read_bytes(), outcome(path)
    draw = random.Random(seed)
    used = [at for at, byte in enumerate(whole) if byte]  # most of so small a file is empty
    for number in range(count):
        data = bytearray(whole)
        at = draw.choice(used) if number % 4 else draw.randrange(len(data))
        if number % 10 == 9:
            del data[at:]
            what = f"cut off at {at}"
        else:
            flip = draw.randrange(1, 256)
            data[at] ^= flip
            what = f"byte {at} xor {flip}"
        path.write_bytes(data)
        found = outcome(path)
        if found.startswith("same"):
            found = "same" if found == wanted else "silent change"
        yield what, found


def main(count: int = 2000, every: int = 1, seed: int = 0) -> int:
    """Run the fuzzer, print its counts and what must not be; return 1 if there was any.

    Args:
        count: Corrupted atlases.
        every: Of so many hostile atlases one is tried; there are some four thousand.
        seed: Of what is drawn.
    """
    bad = 0
    with TemporaryDirectory() as folder:
        for kind, tried in (
            ("hostile", hostile(Path(folder), every, seed)),
            ("corrupted", corrupted(Path(folder), count, seed)),
        ):
            counts: Counter[str] = Counter()
            for name, found in tried:
                counts[found.split()[0]] += 1
                if found not in ("same", "read", "refused"):
                    bad += 1
                    print(f"  {name}: {found}", flush=True)
            print(f"{sum(counts.values())} {kind} atlases: {dict(counts)}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
