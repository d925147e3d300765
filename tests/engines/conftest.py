"""What the tests of engines share: scans that are kept after a few images."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shard hold 16 images."""
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)
