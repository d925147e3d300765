"""Makes the compact weights of the demo from dlib's: the same source gives the same file, byte for byte.

Only a different version of NumPy or zlib may compress the same arrays differently.

Run as `python make_weights.py dlib-resnet34-imagenet-fp16.npz`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backlight_demo.compact import SCALE, encode
from backlight_demo.resnet34 import GROUPS

TARGET = Path(__file__).parent / "src" / "backlight_demo" / "data" / "resnet34-imagenet.npz"

KEPT = ("conv0.", "group1.", "fc.")
"""Layers kept in half precision: 3 % of the weights, but stored as bytes 60 % of the squared error of the scores."""


def renamed(source: Path) -> dict[str, NDArray[np.float16]]:
    """Return dlib's tensors under the module's names.

    Args:
        source: An `.npz` file with `conv0` … `conv32` and `fc`, each `.weight` and `.bias`, in float16.

    Returns:
        Name in the state dict of `ResNet34` to tensor.
    """
    convolutions = ["conv0"]
    for group, (_, n_blocks) in enumerate(GROUPS, start=1):
        convolutions += [f"group{group}.{block}.conv{k}" for block in range(n_blocks) for k in (1, 2)]
    modules = {f"conv{index}": name for index, name in enumerate(convolutions)} | {"fc": "fc"}
    with np.load(source) as tensors:
        return {
            f"{module}.{kind}": tensors[f"{name}.{kind}"]
            for name, module in modules.items()
            for kind in ("weight", "bias")
        }


def compact(tensors: dict[str, NDArray[np.float16]]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of the compact file: bytes and steps for weights, half precision for the rest.

    Args:
        tensors: The network's tensors by name.

    Returns:
        The arrays, by the names that `read_state` expects.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if name.endswith(".bias") or name.startswith(KEPT):
            arrays[name] = tensor
        else:
            arrays[name], arrays[name + SCALE] = encode(tensor.astype(np.float32))
    return arrays


def main() -> None:
    """Read the source, write the compact file and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="dlib's weights in float16, an .npz file")
    parser.add_argument(
        "--output", type=Path, default=TARGET, help="where to write (default: into the package)"
    )
    arguments = parser.parse_args()
    arrays = compact(renamed(arguments.source))
    np.savez_compressed(arguments.output, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
