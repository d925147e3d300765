"""Certifying: the same hits whatever rounding does, also where images are made to be nearly or wholly equal."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import backlight
from atlas.files import damage, make_earlier, make_network, rows
from backlight import Atlas, Network, Preprocessing, build, capture, open_atlas
from backlight.atlas import checksums
from backlight.errors import AtlasError
from backlight.network.fast import FastNetwork
from backlight.scan import certain
from conftest import make_pictures
from fuzz.walking import without_type_checks

SIDE, TOP, BOUND = 16, 9, 2e-3
LAYERS = ["relu1", "relu2", "fc"]
Images = list[NDArray[np.uint8]]


class Symmetric(nn.Module):
    """A network that does the same left and right, so that a mirrored pattern has its maximum in two places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        self.pool, self.fc = nn.AvgPool2d(2), nn.Linear(8, 4)
        for conv in (self.conv1, self.conv2):
            conv.weight.data += conv.weight.data.flip(3)

    def forward(self, x: Tensor) -> Tensor:
        """Return four numbers (n, 4) of images (n, 3, h, w)."""
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def planted() -> Images:
    """Return 32 images: noise, the same but for one grey level of one pixel, copies, flat ones, and mirrored ones."""
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(8)]
    near = []
    for i in range(10):
        own = noise[i % 4].copy()
        own[generator.integers(SIDE), generator.integers(SIDE), i % 3] ^= 1
        near.append(own)
    flat = [np.full((SIDE, SIDE, 3), grey, np.uint8) for grey in (0, 90, 91, 91, 250)]
    mirrored = [np.concatenate([own[:, : SIDE // 2], own[:, : SIDE // 2][:, ::-1]], 1) for own in noise[:6]]
    images = [*noise, *near, noise[5], noise[5], noise[6], *flat, *mirrored]
    return [images[i] for i in generator.permutation(len(images))]


def network() -> Network:
    return capture(Symmetric(), (3, SIDE, SIDE), Preprocessing(None, (SIDE, SIDE), (0.5,) * 3, (0.25,) * 3))


def exact_maps(net: Network, images: Images) -> list[NDArray[np.float64]]:
    """Return, for each layer, what the model in float64 gives for all images: (n, c, h, w), of units h = w = 1."""
    model = Symmetric().double()
    assert net.preprocessing is not None
    with torch.no_grad():
        x = net.preprocessing.batch(images).double()
        first = model.relu1(model.conv1(x))
        second = model.relu2(model.conv2(model.pool(first)))
        return [own.numpy() for own in (first, second, model.fc(second.mean((2, 3)))[..., None, None])]


Hits = list[tuple[int, int, int]]


def true_hits(maps: NDArray[np.float64]) -> Hits:
    """Return image, row and col of a map's hits in all images (n, h, w); of equal ones the first image and place."""
    tolerance = 1e-10 * max(maps.max(), 1e-9)
    left = {i: float(own.max()) for i, own in enumerate(maps) if own.max() > 0}
    found: Hits = []
    while left and len(found) < TOP:
        most = max(left.values())
        image = min(i for i, value in left.items() if value >= most - tolerance)
        at = int(np.argmax(maps[image].ravel() >= left.pop(image) - tolerance))
        found.append((image, *divmod(at, maps.shape[2])))
    return found


def found_hits(own: backlight.FeatureMap) -> Hits:
    return [(hit.image_id, hit.row or 0, hit.col or 0) for hit in own.hits]


def wrong_maps(atlas: Atlas, exact: Sequence[NDArray[np.float64]]) -> tuple[int, int]:
    """Return how many maps have other hits than float64 gives, and how many among the hits that count as certain."""
    n_wrong = n_certain_wrong = 0
    for layer, maps in zip(LAYERS, exact, strict=True):
        for channel, own in atlas[layer].items():
            right, got = true_hits(maps[:, channel]), found_hits(own)
            n_wrong += right != got
            assert own.n_certain is not None
            n_certain_wrong += right[: own.n_certain] != got[: own.n_certain]
    return n_wrong, n_certain_wrong


def with_errors(monkeypatch: pytest.MonkeyPatch, seed: int, exact: Sequence[NDArray[np.float64]]) -> None:
    """Let the scan, and the pass after it, be off by up to the bound in every activation; drawn by a seed."""
    generator = torch.Generator().manual_seed(seed)
    # The median of the layer's strongest activations, by which its bounds go at least; known by the number of maps.
    peaks = {own.shape[1]: own.max((0, 2, 3)) for own in exact}
    limits = {n: 0.99 * BOUND * float(np.median(own[own > 0])) for n, own in peaks.items()}

    def off(maps: Tensor) -> Tensor:
        errors = (torch.rand(maps.shape, generator=generator) * 2 - 1) * limits[maps.shape[1]]
        return (maps + errors).clamp(min=0) if maps.dim() == 4 else maps + errors

    def graph(net: Network, layers: Sequence[backlight.Layer]) -> Callable[[Tensor], list[Any]]:
        plain, peaks = net.features(layers), torch.ops.backlight.spatial_peaks
        return lambda batch: [peaks(off(own)) if own.dim() == 4 else off(own) for own in plain(batch)]

    class Erring(FastNetwork):
        def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
            return tuple(off(own) for own in super().__call__(batch))

    monkeypatch.setattr(import_module("backlight.scan.scanner"), "peaks_graph", graph)
    monkeypatch.setattr(import_module("backlight.engines.maps"), "FastNetwork", Erring)


def built(path: Path, images: Any, **options: Any) -> Atlas:
    options = {"wholes": False, "compile": "off"} | options
    return build(
        options.pop("net", None) or network(), images, path, options.pop("layers", LAYERS), TOP, **options
    )


@pytest.mark.parametrize("seed", range(3))
def test_with_errors_up_to_the_bound_the_hits_are_those_of_float64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    images, net = planted(), network()
    exact = exact_maps(net, images)
    monkeypatch.setattr(certain, "BOUND", BOUND)
    with_errors(monkeypatch, seed, exact)
    n_wrong, n_certain_wrong = wrong_maps(built(tmp_path / "certified.atlas", images), exact)
    assert (n_wrong, n_certain_wrong) == (0, 0)
    # The same errors with nothing asked about: most maps have other hits than they should.
    monkeypatch.setattr(import_module("backlight.atlas.certifying"), "questions_of", lambda *_: ())
    assert wrong_maps(built(tmp_path / "plain.atlas", images), exact)[0] >= 12


def test_without_errors_all_planted_ties_are_decided(tmp_path: Path) -> None:
    images, net = planted(), network()
    atlas = built(tmp_path / "a.atlas", images)
    assert wrong_maps(atlas, exact_maps(net, images)) == (0, 0)
    assert all(own.is_certain for layer in atlas.values() for own in layer.values())


def same_hits(one: Atlas, other: Atlas) -> None:
    for layer in one:
        for a, b in zip(one[layer].values(), other[layer].values(), strict=True):
            assert found_hits(a) == found_hits(b)
            assert a.n_certain == b.n_certain
            values = [[hit.value for hit in own.hits] for own in (a, b)]
            np.testing.assert_allclose(*values, rtol=1e-4)


@pytest.mark.parametrize(
    ("batch_size", "threads", "step"), [(1, 1, 256), (5, 2, 256), (32, 2, 10), (5, 1, 1)]
)
def test_batches_threads_and_splits_give_the_same_hits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, threads: int, step: int
) -> None:
    images = planted()
    whole = built(tmp_path / "whole.atlas", images)
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", step)
    monkeypatch.setattr(import_module("backlight.atlas.certifying"), "STEP_IMAGES", 3)
    torch.set_num_threads(threads)
    same_hits(whole, built(tmp_path / "other.atlas", images, batch_size=batch_size))


_BUILD = """
import sys
from atlas.test_certifying import built, planted
built(__import__("pathlib").Path(sys.argv[1]), planted())
"""


# Each instruction set takes a process of its own, which has to import PyTorch: some five seconds.
def test_instruction_sets_give_the_same_hits(tmp_path: Path) -> None:
    own = torch.backends.cpu.get_cpu_capability().lower()
    # As PyTorch, oneDNN and MKL name them, which convolve and multiply by their own choice.
    known = {"default": ("SSE41", "SSE4_2"), "avx2": ("AVX2", "AVX2"), "avx512": ("AVX512_CORE", "AVX512")}
    sets = [*known][: [*known].index(own) + 1] if own in known else ["default"]
    for name in sets:
        onednn, mkl = known[name]
        limits = {"ATEN_CPU_CAPABILITY": name, "ONEDNN_MAX_CPU_ISA": onednn, "MKL_ENABLE_INSTRUCTIONS": mkl}
        environment = os.environ | limits | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(
            [sys.executable, "-c", _BUILD, str(tmp_path / f"{name}.atlas")], check=True, env=environment
        )
    here = built(tmp_path / "here.atlas", planted())
    for name in sets:
        same_hits(here, open_atlas(tmp_path / f"{name}.atlas"))


def test_more_copies_than_are_kept_are_not_certain(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    first, second, *others = (generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(12))
    atlas = built(tmp_path / "a.atlas", [*others, *[first] * 20, second])
    maps = [own for layer in atlas.values() for own in layer.values() if not own.dead]
    for own in maps:
        # Ids 10 to 29 are the copies: what comes before them is certain, and nothing from them on.
        before = (
            [hit.image_id for hit in own.hits].index(10) if 10 in {h.image_id for h in own.hits} else None
        )
        if before is not None:
            assert own.n_certain == before
            assert not own.is_certain
    assert {own.n_certain for own in maps} >= {0, 1}


def test_a_value_decided_in_float64_is_kept_and_the_map_has_it_as_its_maximum(tmp_path: Path) -> None:
    images, net = planted(), network()
    atlas, exact = built(tmp_path / "a.atlas", images), exact_maps(net, images)
    n_equal = 0
    for layer, maps in zip(LAYERS, exact, strict=True):
        for channel, own in atlas[layer].items():
            if own.hits:
                assert own.max == own.hits[0].value
                assert own.max == pytest.approx(maps[:, channel].max(), rel=1e-5)
                n_equal += own.max == np.float32(maps[:, channel].max())
    assert n_equal >= 5


# --- the phase -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_done", [3, 9])
def test_a_build_stopped_while_it_certifies_resumes_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_done: int
) -> None:
    monkeypatch.setattr(import_module("backlight.atlas.certifying"), "STEP_IMAGES", 3)
    folder = make_pictures(tmp_path / "pictures", 12)
    asked = {"net": make_network(), "maps": 3}
    whole, path, seen = built(tmp_path / "whole.atlas", folder, **asked), tmp_path / "a.atlas", []

    def stop(phase: str, done: int, _: int) -> None:
        if phase == "certify" and done >= n_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(path, folder, **asked, progress=stop)
    part = open_atlas(path)
    assert part.phase == "certify"
    # Type checks look into a layer, which no reader can do before its hits are there.
    with without_type_checks():
        with pytest.raises(AtlasError, match="the scan of this atlas is not finished"):
            part["relu1"][part["relu1"].channels[0]]
        assert backlight.atlas.verify(path).is_sound
    found = built(path, folder, **asked, progress=lambda *step: seen.append(step))
    assert seen[0] == ("certify", n_done + 3, 12)
    assert rows(path) == rows(whole.path)
    assert rows(path)["certify_state"] == []
    channel = found["relu1"].channels[0]
    assert part["relu1"][channel] == found["relu1"][channel]  # an atlas that was opened before shows it now


@pytest.mark.parametrize("step", [0, 1])
def test_damage_to_what_a_scan_has_left_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(import_module("backlight.atlas.certifying"), "STEP_IMAGES", 3)
    folder, path = make_pictures(tmp_path / "pictures", 12), tmp_path / "a.atlas"

    def stop(phase: str, *_: int) -> None:
        if phase == "certify":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(path, folder, net=make_network(), maps=1, progress=stop)
    damage(path, f"UPDATE certify_state SET arrays = x'504b' WHERE step = {step}")
    with without_type_checks():
        (finding,) = backlight.atlas.verify(path).damaged
    assert f"certify_state (step {step})" in finding
    with pytest.raises(AtlasError, match="certify_state"):
        built(path, folder, net=make_network(), maps=1)
    connection = sqlite3.connect(path)
    checksums.watch(connection)
    connection.execute(f"UPDATE certify_state SET arrays = arrays WHERE step = {step}")
    checksums.seal(connection)
    connection.commit()
    connection.close()
    with pytest.raises(AtlasError, match="what its scan has left cannot be read"):
        built(path, folder, net=make_network(), maps=1)


def test_what_an_earlier_version_built_says_nothing_of_certainty(tmp_path: Path) -> None:
    folder, path = make_pictures(tmp_path / "pictures", 12), tmp_path / "a.atlas"
    now = built(path, folder, net=make_network(), maps=3)
    channel = now["relu1"].channels[0]
    assert now["relu1"][channel].n_certain == TOP
    unshown = next(c for c in range(8) if c not in now["relu1"].channels)
    assert now["relu1"][unshown].n_certain is None
    before, hits = rows(path, ("hit",)), now["relu1"][channel].hits
    now.close()
    make_earlier(path, 4)
    earlier = open_atlas(path)
    assert earlier["relu1"][channel].n_certain is None
    assert earlier["relu1"][channel].is_certain
    assert earlier["relu1"][channel].hits == hits
    built(path, folder, net=make_network(), maps=3)
    assert rows(path, ("hit",)) == before
