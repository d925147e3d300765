"""Makes the figures of the documentation: SqueezeNet over the demo photographs.

    python docs/make_figures.py squeezenet1_0.safetensors docs/figures

The feature maps shown are chosen by eye from those of their layers; everything else about them is `backlight build`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from torchvision.models import SqueezeNet1_0_Weights

import backlight
import backlight_demo
from backlight.network.specs import load_model

FIGURES = {
    "figure2": ("features.8.expand3x3_activation", [66, 76, 126, 24, 21, 11]),
    "figure2-early": ("features.5.expand3x3_activation", [31, 46, 15, 41, 1, 109]),
}


def main(weights: str, folder: Path) -> None:
    """Build the atlas of the layers shown and write the figures."""
    preprocessing = backlight.Preprocessing.from_torchvision(SqueezeNet1_0_Weights.DEFAULT)
    model = load_model("torchvision:squeezenet1_0", weights).model
    net = backlight.capture(model, (3, 224, 224), preprocessing)
    for name, (layer, channels) in FIGURES.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "docs.atlas"
            atlas = backlight.build(net, backlight_demo.photographs(), path, [layer], maps=channels)
            atlas.figure(layer, channels, columns=3).save(folder / f"{name}.webp", quality=90)
            atlas.superposed(layer, channels[:4]).save(folder / f"{name}-superposed.webp", quality=90)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
