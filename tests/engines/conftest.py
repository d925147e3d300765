"""What the tests of engines share: scans that are kept after a few images."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shard hold 16 images, and a group of questions 8."""
    monkeypatch.setattr(import_module("backlight.atlas.certifying"), "STEP_IMAGES", 8)
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEPS", 1)
