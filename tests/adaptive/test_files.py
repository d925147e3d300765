"""Files of adaptive networks: what is written is read again; what is damaged or foreign gets one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from backlight.adaptive import (
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    ContrastNormalisation,
    LayerConfig,
    Learning,
    files,
)
from backlight.adaptive.files import TrainingOrigin, read_training, write_training
from backlight.adaptive.training import Training, TrainingState
from backlight.errors import BadInputError, StorageError
from replicas.compare import same_bits

CONFIG = AdaptiveConfig(
    (
        LayerConfig(3, filter=3, block=Block(2, 2, 2), weight=3.0),
        LayerConfig(2, filter=2, block=Block(2, 2), weight=0.1, step=0.03),
    ),
    size=(9, 8),
    contrast=ContrastNormalisation(5, 1.1),
    steps=2,
    unit="plane",
)
LEARNING = Learning(epochs=1, sample=1)
IMAGES = np.random.default_rng(0).standard_normal((3, 1, 9, 8)).astype(np.float32)
ORIGIN = TrainingOrigin(CONFIG, LEARNING, "these")


@pytest.fixture(scope="module")
def fitted() -> AdaptiveDeconvNet:
    """Return a network that has learned a little."""
    net = AdaptiveDeconvNet(CONFIG)
    net.fit(IMAGES, LEARNING)
    return net


@pytest.fixture(scope="module")
def kept() -> TrainingState:
    """Return a training after the first epoch of layer 2."""
    states: list[TrainingState] = []
    Training(CONFIG, LEARNING, IMAGES).run(keep=states.append)
    return next(own for own in states if (own.layer, own.epoch) == (2, 1))


def refused(
    path: Path, text: str, call: Callable[..., object] = AdaptiveDeconvNet.load, *more: object
) -> None:
    with pytest.raises(BadInputError, match=text) as caught:
        call(path, *more)
    assert "\n" not in str(caught.value)


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """Rewrite the file with its facts and arrays changed."""
    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["backlight-adaptive"])
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del facts["checksum"]
    facts["format"] = "1"  # the format without a checksum, so that other damage is found for itself
    change(facts, arrays)
    save_file(arrays, path, {"backlight-adaptive": json.dumps(facts)})
    return path


def test_a_network_is_read_as_it_was_written(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a.adn")
    found = AdaptiveDeconvNet.load(tmp_path / "a.adn")
    assert found.config == CONFIG
    assert found.history == fitted.history
    same_bits(found.squared_norms, fitted.squared_norms)
    for own, expected in zip(found.filters, fitted.filters, strict=True):
        same_bits(own, expected)
    images = torch.from_numpy(IMAGES)
    same_bits(found.reconstruct(found.infer(images)), fitted.reconstruct(fitted.infer(images)))
    found.save(str(tmp_path / "b.adn"))
    assert (tmp_path / "b.adn").read_bytes() == (tmp_path / "a.adn").read_bytes()


SIDES = st.integers(1, 3)
LAYERS = st.tuples(
    SIDES, SIDES, st.tuples(SIDES, SIDES, SIDES), st.floats(1e-6, 1e6), st.none() | st.floats(1e-9, 1)
)
CONTRASTS = st.none() | st.tuples(st.sampled_from([3, 13]), st.floats(0.1, 9))


@given(
    st.lists(LAYERS, min_size=1, max_size=3),
    CONTRASTS,
    st.sampled_from([1, 3]),
    st.tuples(st.integers(60, 90), st.integers(60, 90)),
    st.sampled_from(["filter", "plane"]),
)
def test_any_configuration_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    layers: list[tuple[Any, ...]],
    contrast: tuple[int, float] | None,
    channels: int,
    size: tuple[int, int],
    unit: Any,
) -> None:
    own = tuple(LayerConfig(maps, side, Block(*block), *numbers) for maps, side, block, *numbers in layers)
    window = None if contrast is None else ContrastNormalisation(*contrast)
    config = AdaptiveConfig(own, channels, size, window, unit=unit)
    path = tmp_path_factory.mktemp("files") / "a.adn"
    AdaptiveDeconvNet(config).save(path)
    assert AdaptiveDeconvNet.load(path).config == config


def test_a_training_is_read_as_it_was_written(kept: TrainingState, tmp_path: Path) -> None:
    write_training(kept, ORIGIN, tmp_path / "a.part")
    found = read_training(tmp_path / "a.part", ORIGIN)
    assert (found.layer, found.epoch, found.history) == (2, 1, kept.history)
    assert found.squared_norms == kept.squared_norms
    for own, expected in zip(found.filters, kept.filters, strict=True):
        same_bits(own, expected)
    for array, other in zip((found.pooled, *found.switches), (kept.pooled, *kept.switches), strict=True):
        assert array.dtype == other.dtype
        assert np.array_equal(array, other)


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "no.adn", "no such file: '.*no.adn'; fit an AdaptiveDeconvNet and save it there")
    refused(tmp_path, "no such file")


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, 700, -1])
def test_a_truncated_file(fitted: AdaptiveDeconvNet, tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "a.adn"
    fitted.save(path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    refused(
        path,
        r"is damaged, or not an adaptive network \(.+\); fit an AdaptiveDeconvNet again and save it there",
    )


@given(st.binary(max_size=200))
def test_a_file_of_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "a.adn"
    path.write_bytes(content)
    refused(path, "is damaged, or not an adaptive network")
    refused(path, "is damaged, or not a training of an adaptive network", read_training, ORIGIN)


def test_a_file_of_something_else(fitted: AdaptiveDeconvNet, kept: TrainingState, tmp_path: Path) -> None:
    path = tmp_path / "a.adn"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    refused(path, "is damaged, or not an adaptive network")
    save_file({"weight": np.zeros(3, np.float32)}, path, {"backlight-adaptive": "no JSON"})
    refused(path, "is damaged, or not an adaptive network")
    write_training(kept, ORIGIN, path)
    refused(path, "not an adaptive network .it holds a training of format 2")
    fitted.save(path)
    refused(
        path, "not a training of an adaptive network .it holds a network of format 2", read_training, ORIGIN
    )


NETWORK_DAMAGE: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another format": lambda facts, arrays: facts.update(format="9"),
    "no configuration": lambda facts, arrays: facts.pop("config"),
    "a configuration of another kind": lambda facts, arrays: facts.update(config=[1, 2]),
    "an impossible layer": lambda facts, arrays: facts["config"]["layers"][0].update(maps=0),
    "an unknown unit": lambda facts, arrays: facts["config"].update(unit="map"),
    "another filter size": lambda facts, arrays: facts["config"]["layers"][0].update(filter=5),
    "no filters": lambda facts, arrays: arrays.pop("filters2"),
    "filters of another shape": lambda facts, arrays: arrays.update(
        filters1=np.zeros((3, 1, 4, 4), np.float32)
    ),
    "too few norms": lambda facts, arrays: facts.update(squared_norms=[1.0]),
    "norms that are none": lambda facts, arrays: facts.update(squared_norms=[None, "a"]),
    "no history": lambda facts, arrays: facts.update(history=None),
}


@pytest.mark.parametrize("damage", NETWORK_DAMAGE)
def test_a_file_with_wrong_contents(fitted: AdaptiveDeconvNet, tmp_path: Path, damage: str) -> None:
    fitted.save(tmp_path / "a.adn")
    refused(
        changed(tmp_path / "a.adn", NETWORK_DAMAGE[damage]),  # type: ignore[arg-type]
        "is damaged, or not an adaptive network",
    )


TRAINING_DAMAGE: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "no origin": lambda facts, arrays: facts.pop("origin"),
    "no codes": lambda facts, arrays: arrays.pop("pooled"),
    "codes of another shape": lambda facts, arrays: arrays.update(pooled=arrays["pooled"][:, :, 1:].copy()),
    "no filters at all": lambda facts, arrays: [arrays.pop("filters1"), arrays.pop("filters2")],
    "filters of another shape": lambda facts, arrays: arrays.update(
        filters2=np.zeros((2, 2, 5, 5), np.float32)
    ),
    "too few switches": lambda facts, arrays: arrays.pop("switches2"),
    "too few norms": lambda facts, arrays: facts.update(squared_norms=[1.0]),
    "a layer that there is not": lambda facts, arrays: facts.update(layer=7),
    "a layer that is no number": lambda facts, arrays: facts.update(layer="two"),
}


@pytest.mark.parametrize("damage", TRAINING_DAMAGE)
def test_a_training_with_wrong_contents(kept: TrainingState, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.part"
    write_training(kept, ORIGIN, path)
    changed(path, TRAINING_DAMAGE[damage])  # type: ignore[arg-type]
    refused(path, "is damaged, or not a training of an adaptive network", read_training, ORIGIN)


@pytest.mark.parametrize(
    "change, what",
    [
        ({"config": replace(CONFIG, steps=3)}, "another network"),
        ({"learning": replace(LEARNING, epochs=2)}, "other learning settings"),
        ({"images": "others"}, "other images"),
    ],
)
def test_a_training_of_something_else(
    kept: TrainingState, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    write_training(kept, ORIGIN, tmp_path / "a.part")
    refused(
        tmp_path / "a.part",
        f"is an unfinished training with {what}; rerun it as it was started, or remove the file",
        read_training,
        replace(ORIGIN, **change),
    )


def test_a_fit_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    AdaptiveDeconvNet(CONFIG).fit(IMAGES, LEARNING, checkpoint=part)
    with pytest.raises(BadInputError, match="is an unfinished training with other images"):
        AdaptiveDeconvNet(CONFIG).fit(IMAGES + 1, LEARNING, checkpoint=part)
    part.unlink()
    AdaptiveDeconvNet(CONFIG).fit(IMAGES, LEARNING, checkpoint=part, fingerprint="these")
    with pytest.raises(BadInputError, match="is an unfinished training with 3 images, got 2"):
        AdaptiveDeconvNet(CONFIG).fit(IMAGES[:2], LEARNING, checkpoint=part, fingerprint="these")


def test_a_write_that_fails_leaves_what_was_there(
    fitted: AdaptiveDeconvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.adn"
    fitted.save(path)
    before = path.read_bytes()

    def fail(arrays: object, path: Path, facts: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(
        StorageError, match=r"cannot write '.*a.adn' \(No space left on device\); choose another place"
    ):
        AdaptiveDeconvNet(CONFIG, seed=3).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_put_in_its_place_as_a_whole_at_the_end(
    fitted: AdaptiveDeconvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.adn"
    fitted.save(path)
    before = path.read_bytes()

    def fail(fresh: Path, place: Path) -> None:
        assert place == path
        assert path.read_bytes() == before != fresh.read_bytes()  # the new one is whole beside the old one
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match=r"cannot write '.*a\.adn' \(Permission denied\)"):
        AdaptiveDeconvNet(CONFIG, seed=3).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_there_is_not(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write '.*no/a\.adn'"):
        fitted.save(tmp_path / "no" / "a.adn")
    (tmp_path / "folder.adn").mkdir()
    with pytest.raises(StorageError, match=r"cannot write '.*folder\.adn'"):
        fitted.save(tmp_path / "folder.adn")
    assert [own.name for own in tmp_path.iterdir()] == ["folder.adn"]


def test_the_header_says_all_in_plain_json(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a.adn")
    with safe_open(tmp_path / "a.adn", "numpy") as file:
        facts = json.loads(file.metadata()["backlight-adaptive"])
        assert sorted(file.keys()) == ["filters1", "filters2"]
    assert (facts["format"], facts["kind"]) == ("2", "network")
    assert facts["config"] == json.loads(json.dumps(asdict(CONFIG)))


def test_a_network_can_be_read_by_whom_other_files_can_be_read(
    fitted: AdaptiveDeconvNet, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.touch()
    fitted.save(tmp_path / "m.adn")
    assert (tmp_path / "m.adn").stat().st_mode == other.stat().st_mode
