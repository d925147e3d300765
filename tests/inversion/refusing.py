"""Bad input to an inversion gets one clear line, before any work."""

from __future__ import annotations

import pytest
import torch

from backlight.errors import BacklightError

IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(6))


def refused(error: type[BacklightError], text: str, call: object, *arguments: object) -> None:
    with pytest.raises(error, match=text) as caught:
        call(*arguments)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
