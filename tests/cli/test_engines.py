"""Flags that say who does the work: what belongs together, and which engine comes of it."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from backlight.cli.engines import EngineOptions
from backlight.engines.gathering import LedgerEngine
from backlight.errors import BadInputError

LOCAL = EngineOptions("local", None, None, 1, 0.0, None, False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"address": "auto"}, "--address says what Ray does; add --engine ray"),
        ({"stations": 2, "gpus": 1.0}, "--stations and --gpus says what Ray does; add --engine ray"),
        ({"cpus": 2}, "--cpus says what Ray does; add --engine ray"),
        ({"keep_ledger": True}, "--keep-ledger keeps what --ledger ADDRESS names"),
    ],
)
def test_flags_of_ray_without_ray_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        replace(LOCAL, **given).check()


def test_flags_that_belong_together_are_taken() -> None:
    LOCAL.check()
    replace(LOCAL, keep_ledger=True).check(has_ledger=True)
    replace(LOCAL, ledger="run", keep_ledger=True).check()
    replace(LOCAL, engine="ray", stations=2, gpus=1.0, keep_ledger=True).check()


def test_this_process_alone_needs_no_engine_and_a_ledger_gives_one(tmp_path: Path) -> None:
    with LOCAL.started("a.atlas.ledger") as engine:
        assert engine is None
    with replace(LOCAL, ledger=str(tmp_path / "run")).started("a.atlas.ledger") as engine:
        assert isinstance(engine, LedgerEngine)
    assert list(tmp_path.iterdir()) == []


def test_a_polite_kill_ends_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quiet:
        ended = False

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Quiet:
            return self

        def __exit__(self, *_: object) -> None:
            Quiet.ended = True

    monkeypatch.setattr("backlight.engines.ray.RayEngine", Quiet)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), replace(LOCAL, engine="ray").started("a.atlas.ledger"):
        signal.raise_signal(signal.SIGTERM)
    assert Quiet.ended
    assert signal.getsignal(signal.SIGTERM) is before
