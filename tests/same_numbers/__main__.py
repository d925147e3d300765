"""Shows whether a change of the code changes any number: compares a revision with the working tree, bit for bit.

    python tests/same_numbers --before REVISION [--only 'timm/*'] [--keep FOLDER]

Exits 1 if anything differs. Compares, for some sixty networks: names, shapes, operators, receptive fields and flags of
layers, the class of each operator, what is left out, projections under all rules, and a scan; and of two atlases all
tables (`same_numbers.atlases.LEFT_OUT` says what of them is not compared).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from same_numbers.comparing import Subject, compare

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", required=True, help="the revision to compare with")
    parser.add_argument(
        "--only", default="*", help="a pattern of names, such as 'small/*' or 'torchvision/resnet18'"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder where the revision's dump is kept for another comparison"
    )
    parser.add_argument("--most", type=int, default=8, help="how many differences to print of each network")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="same-numbers-") as folder,
        worktree(args.before) as (tree, commit),
    ):
        kept = args.keep or Path(folder)
        before, now = kept.absolute() / f"{commit[:12]}-{own_hash()}", Path(folder) / "now"
        running = [start(tree, before, args.only), start(REPOSITORY, now, args.only)]
        codes = [child.wait() for child in running]
        if any(codes):
            sys.exit("a dump ended with an error; the comparison is not complete")
        subjects = compare(before, now, args.only)
    report(subjects, args.most)
    sys.exit(any(subject.differences for subject in subjects) or not subjects)


@contextmanager
def worktree(revision: str) -> Iterator[tuple[Path, str]]:
    """Check a revision out beside the working tree, and yield the folder and the commit."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(REPOSITORY), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="same-numbers-before-") as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--detach", str(tree), commit)
        try:
            yield tree, commit
        finally:
            git("worktree", "remove", "--force", str(tree))


def own_hash() -> str:
    """Return a hash of what makes a dump: one kept from another version of these files is not comparable."""
    texts = ((HERE / f"{name}.py").read_bytes() for name in ("atlases", "dumping", "networks", "small_nets"))
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def start(tree: Path, folder: Path, only: str) -> subprocess.Popen[bytes]:
    """Start a dump by the code in a tree; what is dumped, and how, is said by these files for both."""
    paths = [tree / "src", tree / "demo" / "src", HERE.parent]
    own = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "same_numbers.dumping", "--to", str(folder), "--only", only]
    return subprocess.Popen(command, env=own, cwd=tree)


def report(subjects: list[Subject], most: int) -> None:
    """Print a table, and the differences below the network that has them."""
    print(f"{'network':36} {'facts':>6} {'numbers':>11} {'refused':>7} {'crashed':>7}")
    for own in subjects:
        count = len(own.differences)
        verdict = f"{count} DIFFER" if count else "same"
        print(
            f"{own.name:36} {own.n_facts:6} {own.n_numbers:11,} {own.n_refused:7} {own.n_crashed:7}  {verdict}"
        )
        for line in own.differences[:most]:
            print(f"    {line}")
        if count > most:
            print(f"    and {count - most} more")
    changed = [own.name for own in subjects if own.differences]
    numbers = sum(own.n_numbers for own in subjects)
    print(
        f"{len(subjects)} compared, {numbers:,} numbers; {len(changed)} differ{': ' if changed else ''}",
        end="",
    )
    print(", ".join(changed))


if __name__ == "__main__":
    main()
