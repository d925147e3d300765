"""A result of an inversion made by hand, of flat colours."""

from __future__ import annotations

import numpy as np

from backlight.inversion import Inversion, InversionConfig

GREEN, RED, BLUE, GREY = (0, 200, 0), (200, 0, 0), (0, 0, 200), (90, 90, 90)


def result(layer: str = "relu1", restarts: int = 1, frames: int = 0) -> Inversion:
    colours = np.array([RED, BLUE, GREY][:restarts], np.uint8)
    pictures = np.broadcast_to(colours[:, None, None], (restarts, 40, 40, 3)).copy()
    steps = np.arange(1, frames + 1, dtype=np.int64) * 3
    return Inversion(
        config=InversionConfig(restarts=restarts, frames=frames),
        goal="invert",
        model="SmallNet",
        layer=layer,
        title="cat.jpg",
        images=np.zeros((restarts, 3, 40, 40), np.float32),
        pictures=pictures,
        original=np.full((40, 40, 3), GREEN, np.uint8),
        terms=("objective",),
        curves=np.ones((1, 5, restarts), np.float32),
        goals=np.full(restarts, 0.01),
        norm=2.0,
        spread=None,
        labels=np.array([4, 5, 4][:restarts]),
        label=4,
        frames=np.stack([pictures // (frames - i) for i in range(frames)])
        if frames
        else np.zeros(0, np.uint8),
        frame_steps=steps,
        stopped="finished",
    )
