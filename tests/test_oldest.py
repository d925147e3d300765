"""The constraints of `make test-oldest` are exactly the minimums that pyproject.toml states."""

from __future__ import annotations

import tomllib
from pathlib import Path

from backlight.network.capture import OLDEST_TORCH

ROOT = Path(__file__).parent.parent


def test_the_oldest_releases_are_those_that_pyproject_states() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (ROOT / "tests/oldest.txt").read_text().splitlines()
    oldest = [line for line in lines if line and not line.startswith("#")]
    assert oldest == [minimum.replace(">=", "==") for minimum in stated]


def test_the_capture_refuses_what_is_older_than_the_stated_torch() -> None:
    (torch,) = (
        line for line in (ROOT / "tests/oldest.txt").read_text().splitlines() if line.startswith("torch==")
    )
    assert torch.startswith("torch==" + ".".join(map(str, OLDEST_TORCH)) + ".")
