"""Watching a training: within its budget, in the frameworks that run it, with pictures for its loggers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backlight.errors import BacklightWarning, BadInputError
from backlight.studies.evolution import (
    Evolution,
    EvolutionWatch,
    lightning_callback,
    transformers_callback,
    watch_ultralytics,
)
from backlight.studies.evolution.labels import step_number
from conftest import SmallNet

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Clock:
    """A clock that stands still unless it is told how much time has passed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Costly(Evolution):
    """Takes the place of an evolution: to prepare a model and to look at it takes time on the clock."""

    def __init__(self, clock: Clock, prepare: float = 4.0, look: float = 1.0) -> None:
        self.clock, self.prepare_s, self.look_s, self.steps = clock, prepare, look, []

    @property
    def result(self) -> Any:
        return SimpleNamespace(steps=self.steps)

    def prepare(self, model: nn.Module) -> None:
        self.clock.now += self.prepare_s

    def observe(self, model: nn.Module, step: int) -> dict[str, Image.Image]:
        self.clock.now += self.look_s
        self.steps.append(step)
        return {"relu1/3": Image.new("RGB", (4, 2), (255, 0, 0))}


def watched(evolution: Any, clock: Clock, **options: Any) -> EvolutionWatch:
    return EvolutionWatch(evolution, clock=clock, **options)


# --- the budget -----------------------------------------------------------------------------------------------


def test_looking_takes_no_more_than_its_share_once_the_first_look_is_paid_for() -> None:
    clock = Clock()
    evolution = Costly(clock)
    watch = watched(evolution, clock, max_share=0.02)
    shares = []
    for epoch in range(100):
        clock.now += 10.0
        watch(nn.Identity(), epoch)
        shares.append(watch.share)
    # the first look takes 5 s, a later one 1 s: 300 s of training pay for both, and 50 s for each further one
    assert evolution.steps == [0, *range(29, 100, 5)]
    assert all(share <= 0.02 for share in shares[24:])
    assert watch.spent_s == 5 + len(evolution.steps) - 1
    assert watch.share == watch.spent_s / 1000


@pytest.mark.parametrize(("share", "n_looks"), [(0.001, 1), (0.1, 96), (10.0, 100)])
def test_a_larger_share_is_looked_at_more_often(share: float, n_looks: int) -> None:
    clock = Clock()
    evolution = Costly(clock)
    watch = watched(evolution, clock, max_share=share)
    for epoch in range(100):
        clock.now += 10.0
        watch(nn.Identity(), epoch)
    assert len(evolution.steps) == n_looks


def test_time_before_the_training_does_not_count() -> None:
    clock = Clock()
    watch = watched(Costly(clock), clock, max_share=0.5)
    assert watch.share == 0
    clock.now += 1000.0
    watch.start()
    clock.now += 1.0
    assert watch(nn.Identity(), 0)
    assert not watch(nn.Identity(), 1)
    assert watch.share == 5.0
    watch = watched(Costly(clock), clock, max_share=0.02)
    clock.now += 1000.0  # a validation, say: what was not spent meanwhile is not spent all at once
    assert [bool(watch(nn.Identity(), step)) for step in range(3)] == [True, False, False]
    with pytest.raises(BadInputError, match="max_share is a share of the training's time above 0, got 0"):
        watched(Costly(clock), clock, max_share=0.0)


def test_a_look_that_fails_is_told_and_the_training_goes_on() -> None:
    clock = Clock()
    watch = watched(Evolution(IMAGES, "no such layer"), clock, max_share=1.0)
    with pytest.warns(
        BacklightWarning, match=r"step 3 of the training was not looked at: SmallNet has no layer"
    ):
        assert watch(SmallNet(), 3) == {}


def test_a_plain_loop_looks_at_each_epoch_there_is_time_for(tmp_path: Path) -> None:
    clock = Clock()
    watch = watched(Evolution(IMAGES, maps=2, path=tmp_path / "e.npz"), clock)
    model = SmallNet()
    for epoch in range(3):
        clock.now += 1.0
        assert sorted(watch(model, epoch))[0].startswith("relu1/")
    assert watch.evolution.result.steps == ("0", "1", "2")


@pytest.mark.parametrize(("rank", "steps"), [(0, [0]), (1, [])])
def test_of_several_processes_only_the_first_looks(
    rank: int, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    evolution = Costly(Clock())
    watched(evolution, evolution.clock)(nn.Identity(), 0)
    assert evolution.steps == steps


# --- hosts ----------------------------------------------------------------------------------------------------


class Module(nn.Module):
    """A model whose part takes images; stands for a LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SmallNet()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Host:
    """Takes the place of a framework: its base classes, and the calls that its trainer makes, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def install(self, name: str, **content: Any) -> None:
        module = ModuleType(name)
        vars(module).update(content)
        parts = name.split(".")
        for i in range(1, len(parts)):
            self.monkeypatch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(".".join(parts[:i])))
        self.monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    return Host(monkeypatch)


class HookBase:
    """The hooks of a callback that its host calls, of which none does anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *_, **__: None
        raise AttributeError(name)


def lightning_run(callback: Any, module: Module, rank: int = 0) -> None:
    """Call what Trainer.fit calls: a sanity check, then epochs of training, each with a validation in it."""
    trainer = SimpleNamespace(is_global_zero=rank == 0, sanity_checking=True, current_epoch=0)
    with torch.inference_mode():
        callback.on_validation_end(trainer, module)
    trainer.sanity_checking = False
    callback.on_train_start(trainer, module)
    for trainer.current_epoch in range(2):
        module.train()
        callback.on_train_epoch_start(trainer, module)
        module.eval()
        with torch.inference_mode():
            callback.on_validation_end(trainer, module)
        module.train()
        callback.on_train_epoch_end(trainer, module)
    callback.on_train_end(trainer, module)


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
@pytest.mark.parametrize("event", ["on_train_epoch_end", "on_validation_end"])
def test_lightning_is_watched_by_a_callback(host: Host, package: str, event: str) -> None:
    host.install(package, Callback=HookBase)
    module, clock = Module(), Clock()
    before = {name: own.clone() for name, own in module.state_dict().items()}
    watch = watched(Evolution(IMAGES, maps=2), clock)
    callback = lightning_callback(watch, lambda own: own.net, event)
    assert isinstance(callback, HookBase)
    lightning_run(callback, module)
    assert watch.evolution.result.steps == ("0", "1")
    assert [own.name for own in watch.evolution.result.layers] == ["relu1", "relu2"]
    assert all(torch.equal(own, before[name]) for name, own in module.state_dict().items())


def test_lightning_looks_in_the_first_process_alone(host: Host) -> None:
    host.install("lightning.pytorch", Callback=HookBase)
    evolution = Costly(Clock())
    lightning_run(lightning_callback(watched(evolution, evolution.clock)), Module(), rank=1)
    assert evolution.steps == []


def test_transformers_are_watched_by_a_callback(host: Host) -> None:
    host.install("transformers", TrainerCallback=HookBase)
    evolution = Costly(Clock(), 0, 0)
    callback, module = transformers_callback(watched(evolution, evolution.clock)), Module()
    assert isinstance(callback, HookBase)
    for is_first in (True, False):
        state = SimpleNamespace(global_step=0, epoch=0.0, is_world_process_zero=is_first)
        for event in ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_epoch_end", "on_train_end"):
            state.global_step += 25 * (event == "on_epoch_end")
            getattr(callback, event)(object(), state, object(), model=module, optimizer=None)
    assert evolution.steps == [25, 50]


def test_ultralytics_are_watched_by_functions() -> None:
    evolution = Costly(Clock(), 0, 0)
    callbacks: dict[str, list[Any]] = {}
    model = SimpleNamespace(
        add_callback=lambda event, function: callbacks.setdefault(event, []).append(function)
    )
    watch_ultralytics(model, watched(evolution, evolution.clock))
    trainer = SimpleNamespace(model=SmallNet(), epoch=0, epochs=2)
    for event, epoch in [("on_train_start", 0), ("on_train_epoch_end", 0), ("on_train_epoch_end", 1)]:
        trainer.epoch = epoch
        for function in callbacks[event]:
            function(trainer)
    assert evolution.steps == [0, 1]


@pytest.mark.parametrize(
    ("make", "name"), [(lightning_callback, "Lightning"), (transformers_callback, "Transformers")]
)
def test_a_framework_that_is_not_installed_is_named(
    make: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInputError, match=f"{name} is not installed; install it to watch its trainings"):
        make(watched(Costly(Clock()), Clock()))


def test_the_real_lightning_trains_to_the_same_weights() -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Own(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.drop = SmallNet(), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(self.drop(x))

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    found = []
    for is_watched in (False, True):
        lightning.seed_everything(0, verbose=False)
        module, data = Own(), [(image, i % 5) for i, image in enumerate(IMAGES)]
        watch = watched(Evolution(IMAGES, maps=2), Clock())
        quiet = dict.fromkeys(
            ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
        )
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", callbacks=[lightning_callback(watch)] * is_watched, **quiet
        )
        loader = torch.utils.data.DataLoader(data, 2, shuffle=True)
        trainer.fit(module, loader, torch.utils.data.DataLoader(data, 2))
        found.append(module.state_dict())
    assert watch.evolution.result.steps == ("0", "1")
    assert all(torch.equal(own, found[1][name]) for name, own in found[0].items())


def test_the_real_transformers_call_their_callback() -> None:
    transformers = pytest.importorskip("transformers")
    evolution = Costly(Clock(), 0, 0)
    callback = transformers_callback(watched(evolution, evolution.clock))
    handler = transformers.trainer_callback.CallbackHandler([callback], SmallNet(), None, None, None)
    state, control = transformers.TrainerState(), transformers.TrainerControl()
    handler.on_train_begin(object(), state, control)
    state.global_step = 7
    handler.on_epoch_end(object(), state, control)
    assert evolution.steps == [7]


# --- loggers --------------------------------------------------------------------------------------------------


class Seen:
    """What a logger was given."""

    def __init__(self) -> None:
        self.got: list[Any] = []


class Writer(Seen):
    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: Any = None,
        dataformats: str = "CHW",
    ) -> None:
        self.got.append((tag, np.asarray(img_tensor).shape, global_step, dataformats))

    def log(self, *_: Any) -> None:
        raise AssertionError("a writer takes images by add_image")


class Flow(Seen):
    def log_image(
        self, image: Image.Image, artifact_file: Any = None, key: Any = None, step: Any = None
    ) -> None:
        self.got.append((key, image.size, step, artifact_file))


class FlowClient(Seen):
    def log_image(
        self, run_id: str, image: Image.Image, artifact_file: Any = None, key: Any = None, step: Any = None
    ) -> None:
        self.got.append((run_id, key, image.size, step))


class Run(Seen):
    """A run of Aim, whose experiment is a name."""

    experiment = "default"

    def track(
        self, value: Any, name: str | None = None, step: int | None = None, context: Any = None
    ) -> None:
        self.got.append((type(value).__name__, name, step))


class Log(Seen):
    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        self.got.append(({name: type(own).__name__ for name, own in data.items()}, step))


class OfLightning:
    """A logger of Lightning."""

    run_id = "r1"

    def __init__(self, inner: Any) -> None:
        self.inner, self.n_made = inner, 0

    @property
    def experiment(self) -> Any:
        self.n_made += 1
        return self.inner


class Picture:
    """Stands for wandb.Image and aim.Image."""

    def __init__(self, picture: Image.Image) -> None:
        assert isinstance(picture, Image.Image)


NAME = "evolution/relu1/3"
LOGGERS = [
    (Writer(), [(NAME, (2, 4, 3), 12, "HWC")]),
    (Flow(), [(NAME, (4, 2), 12, None)]),
    (Run(), [("Picture", NAME, 12)]),
    (Log(), [({"evolution/step": "int", NAME: "Picture"}, None)]),
]


@pytest.mark.parametrize(("logger", "got"), LOGGERS, ids=[type(logger).__name__ for logger, _ in LOGGERS])
def test_loggers_get_pictures_in_their_own_way(logger: Any, got: list[Any], host: Host) -> None:
    module = type(logger).__module__.partition(".")[0]
    host.monkeypatch.setattr(sys.modules[module], "Image", Picture, raising=False)
    clock, logger.got = Clock(), []
    watched(Costly(clock), clock, loggers=[logger])(nn.Identity(), "epoch=12")
    assert logger.got == got


def test_a_logger_of_lightning_passes_on_what_is_inside() -> None:
    for inner, expected in [(Writer(), (NAME, (2, 4, 3), 0, "HWC")), (FlowClient(), ("r1", NAME, (4, 2), 0))]:
        clock, logger = Clock(), OfLightning(inner)
        watch = watched(Costly(clock), clock, loggers=[logger])
        assert logger.n_made == 0  # reading it starts a run
        watch(nn.Identity(), 0)
        assert inner.got == [expected]
    with pytest.warns(BacklightWarning, match="not looked at: a object takes no pictures"):
        watched(Costly(clock), clock, loggers=[OfLightning(object())])(nn.Identity(), 0)


def test_what_takes_no_pictures_is_refused_at_once() -> None:
    with pytest.raises(
        BadInputError, match="a list takes no pictures; a logger has one of add_image, track, log_image"
    ):
        watched(Costly(Clock()), Clock(), loggers=[[]])


def test_the_step_of_a_logger_is_the_last_number_of_a_label() -> None:
    assert [step_number(label, 4) for label in ("7", "epoch=2-step=30", "last")] == [7, 30, 4]
