"""Compiling the graph of a scan: when it pays, and how.

*Rule* of `auto`: compile where the network is on the CPU, a C++ compiler is found, and the set has at least
MIN_IMAGES images. The speed of the machine does not count: compiled and plain activations may differ in their last
bits, and an atlas must not depend on how busy the machine was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx

from backlight.errors import BadInputError, CompileError
from backlight.network.quiet import quiet_torch

Compile = Literal["auto", "on", "off"]
"""Whether a scan compiles its graph: by the rule, always, or never."""

MIN_IMAGES = 10_000
"""Repays the compilation on most networks and machines: 600 to 15,000 images were measured (docs/performance.md)."""


def should_compile(mode: Compile, device: torch.device, n_images: int) -> bool:
    """Return whether a scan of so many images compiles its graph.

    Raises:
        BadInputError: The mode is unknown.
    """
    if mode not in get_args(Compile):
        raise BadInputError(f"compile is one of {', '.join(get_args(Compile))}, got {mode!r}")
    if mode != "auto":
        return mode == "on"
    return device.type == "cpu" and n_images >= MIN_IMAGES and has_compiler()


def has_compiler() -> bool:
    """Return whether a C++ compiler is on the path, or named by the environment variable CXX."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")
    return any(shutil.which(name) for name in names if name)


def compile_frozen(module: fx.GraphModule, example: Tensor) -> Callable[[Tensor], Any]:
    """Return the module compiled for inputs of the example's shape, its weights built in.

    Args:
        module: The graph; later changes of its weights have no effect.
        example: A batch of the shape and memory format of all later ones.

    Raises:
        CompileError: It could not be compiled, for whatever reason.
    """
    try:
        with quiet_torch(), torch.no_grad(), _frozen():
            compiled = torch.compile(module, dynamic=False, fullgraph=True)
            compiled(example)  # torch.compile only wraps the module; the first call compiles it
    # A compiler, its headers, a full disk: the reasons have no type in common.
    except Exception as error:
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise CompileError(
            f"the scan could not be compiled ({reason})",
            python='leave compile="auto", which goes on without',
            command="leave --compile at auto, which then runs without",
        ) from error
    return compiled


def _frozen() -> Any:
    import torch._inductor.config as inductor

    return inductor.patch(freezing=True, size_asserts=False, alignment_asserts=False)
