"""A tiny atlas with something in every table: what the fuzzers change."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from atlas.files import make_earlier
from backlight import GUIDED, Preprocessing, build, capture, extend
from backlight.atlas import Evidence, keep_evidence, keep_origin
from backlight.errors import BacklightWarning
from backlight.network import Network
from backlight.studies.diagnosis import Diagnosis, DiagnosisConfig, Finding
from backlight.studies.diagnosis.result import Lacking, LookedFor
from backlight.studies.evolution import Evolution, EvolutionConfig, EvolutionResult
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig
from conftest import make_pictures


def make_tiny_atlas(path: Path, seed: int = 0) -> None:
    """Write a finished atlas of three layers, five images and a picture that could not be read.

    Args:
        path: The atlas.
        seed: Of the network's weights; all else is the same.
    """
    path.write_bytes(_tiny(seed))


def make_old_atlas(path: Path) -> None:
    """Write the same atlas in format 1, which had no checksums, nor examples of bands and whole pictures."""
    make_tiny_atlas(path)
    make_earlier(path, 1)


def tiny_model(seed: int = 0) -> nn.Module:
    """Return the model of the tiny atlas."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(75, 2),
    )  # fmt: skip


@lru_cache
def tiny_network(seed: int = 0) -> Network:
    """Return the same, captured."""
    return capture(tiny_model(seed), (3, 12, 12), Preprocessing(None, (12, 12), (0.5,) * 3, (0.5,) * 3))


def make_tiny_pictures(folder: Path) -> Path:
    """Write the images of the tiny atlas into a folder, and return it."""
    pictures = make_pictures(folder, 5, (12, 12))
    (pictures / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff cut off")
    return pictures


@lru_cache
def _tiny(seed: int = 0) -> bytes:
    net = tiny_network(seed)
    with TemporaryDirectory() as folder:
        pictures = make_tiny_pictures(Path(folder) / "pictures")
        path = Path(folder) / "tiny.atlas"
        asked = {"top": 2, "batch_size": 4, "maps": [0, 1], "compile": "off", "bands": True}
        with warnings.catch_warnings(
            action="ignore", category=BacklightWarning
        ):  # of a picture that is left out
            build(net, pictures, path, ["1", "3", "5"], **asked).close()
            extend(net, pictures, path, rules=GUIDED).close()
        keep_origin(path, {"model": "demo", "images": "pictures", "weights": None})
        found = Evidence({"deconvnet": 0.5, "centre": 0.25, "random": None}, "as good", True, "guided", 2)
        keep_evidence(path, "3", found, {0: found}, _study().to_bytes())
        return path.read_bytes()


@lru_cache
def tiny_evolution() -> EvolutionResult:
    """Return the evolution of all maps of the tiny atlas over its images: three steps, the last that of the atlas."""
    net = tiny_network()
    assert net.preprocessing is not None
    with TemporaryDirectory() as folder:
        pictures = make_tiny_pictures(Path(folder) / "pictures")
        config = EvolutionConfig(maps=None, batch_size=4)
        seen = Evolution(pictures, ["1", "3", "5"], preprocessing=net.preprocessing, config=config)
        for step, seed in (("epoch-2", 2), ("epoch-9", 1), ("epoch-10", 0)):
            seen.observe(tiny_model(seed).eval(), step)
        return seen.result


@lru_cache
def tiny_diagnosis() -> Diagnosis:
    """Return a diagnosis of the tiny atlas's network: found by hand, one of each form that a finding has."""
    common = {"unit": "share", "limit": 0.05, "null": "what <b>others</b> have"}
    findings = (
        Finding("dead", "1", (1,), 0.0, says="silent in all of 5 images", low=0.0, high=0.5, p=0.01, p_corrected=0.02,
                is_found=True, evidence=1, **common),
        Finding("duplicate", "3", (0, 2), 0.99, says="nearly the same", p=1e-9, p_corrected=1e-8, is_found=True,
                evidence=0, **common),
        Finding("uneven", "3", (), 2.0, says="more at the top", is_found=True, **common),
        Finding("dead", "gone", (4,), 0.0, says="a layer that the atlas lacks", p=0.2, p_corrected=0.2, is_found=True,
                **common),
    )  # fmt: skip
    looked_for = (
        LookedFor("dead", "1", 2, 2, 1), LookedFor("dead", "gone", 9, 9, 1), LookedFor("duplicate", "3", 3, 3, 2),
        LookedFor("uneven", "3", 1, 3, 3), LookedFor("loud", "3", 3, 3, 0),
    )  # fmt: skip
    lacking = (
        Lacking("field", None, "no boxes are given"), Lacking("causes", "1", "too few images"),
        Lacking("causes", "3", "too few images"),
    )  # fmt: skip
    pictures = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (250, 10)])
    names = tiny_network().name, "pictures"
    layers = ("1", "3", "gone")
    return Diagnosis(DiagnosisConfig(), *names, 5, layers, findings, looked_for, lacking, pictures)


def _study() -> Faithfulness:
    config = FaithfulnessConfig(maps=1, hits=1, shares=(0.1,), fills=("mean",))
    index = np.zeros(1, np.int64)
    falls = np.full((1, 2, 1, 1), 0.5)
    return Faithfulness(
        config,
        ("deconvnet", "centre"),
        ("3",),
        ("deconvnet",),
        index,
        index,
        index,
        np.ones(1),
        falls,
        falls[:, :1],
    )
