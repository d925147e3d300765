"""Compiling the graph of a scan: when, with what result, and what happens where it cannot be done."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

from backlight import capture, scan
from backlight.errors import CompileError
from backlight.scan import Compile, make_scanner, should_compile

compiling = import_module("backlight.scan.compiling")  # backlight.scan is the function
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MANY = compiling.MIN_IMAGES
needs_a_compiler = pytest.mark.skipif(not compiling.has_compiler(), reason="needs a C++ compiler")


def break_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every compilation fail, as it does without the headers of Python."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CppCompileError\nPython.h: no such file")

    monkeypatch.setattr(torch, "compile", refuse)


@pytest.mark.parametrize(
    ("mode", "device", "n_images", "has_compiler", "expected"),
    [
        ("auto", CPU, MANY, True, True),
        ("auto", CPU, MANY - 1, True, False),
        ("auto", CPU, MANY, False, False),
        ("auto", CUDA, MANY, True, False),
        ("on", CUDA, 1, False, True),
        ("off", CPU, MANY, True, False),
    ],
)
def test_the_rule(
    monkeypatch: pytest.MonkeyPatch,
    mode: Compile,
    device: torch.device,
    n_images: int,
    has_compiler: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(compiling, "has_compiler", lambda: has_compiler)
    assert should_compile(mode, device, n_images) is expected


def test_a_compiler_is_looked_for_where_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not compiling.has_compiler()
    own = tmp_path / "my-c++"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("CXX", str(own))
    assert compiling.has_compiler()


@needs_a_compiler
def test_a_compiled_scan_finds_the_same_hits(small_net: nn.Module) -> None:
    net = capture(small_net, (3, 32, 32))
    images = torch.randn(11, 3, 32, 32)
    phases: list[str] = []
    plain = scan(net, images, top=4, compile="off")
    found = scan(net, images, top=4, compile="on", progress=lambda phase, *_: phases.append(phase))
    assert phases[:3] == ["compile", "compile", "scan"]
    for name, result in plain.layers.items():
        hits = found.layers[name].hits
        np.testing.assert_allclose(hits.values, result.hits.values, rtol=1e-5)
        np.testing.assert_array_equal(hits.image_ids, result.hits.image_ids)
        np.testing.assert_array_equal(hits.places, result.hits.places)
        np.testing.assert_allclose(
            found.layers[name].statistics.means, result.statistics.means, rtol=1e-4, atol=1e-6
        )


def test_where_it_cannot_be_compiled_auto_goes_on_and_on_says_so(
    monkeypatch: pytest.MonkeyPatch, small_net: nn.Module
) -> None:
    break_the_compiler(monkeypatch)
    net = capture(small_net, (3, 32, 32))
    assert not make_scanner(net, net.default_layers, compiled=True, falls_back=True).is_compiled
    with pytest.raises(
        CompileError, match=r"could not be compiled \(CppCompileError\); leave compile=.auto."
    ):
        scan(net, torch.zeros(1, 3, 32, 32), compile="on")
