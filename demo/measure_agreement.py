"""Measures how far the compact weights of the demo agree with dlib's own, over a folder of photographs.

Run as `python measure_agreement.py dlib-resnet34-imagenet-fp16.npz FOLDER`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from make_weights import renamed
from PIL import Image
from torch import Tensor

from backlight_demo import ResNet34, model, preprocess

BATCH = 32


def original(source: Path) -> ResNet34:
    """Return the network with dlib's weights, computing in float32.

    Args:
        source: dlib's weights, an `.npz` file in float16.
    """
    network = ResNet34()
    tensors = renamed(source).items()
    network.load_state_dict({name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in tensors})
    return network.eval()


@torch.inference_mode()
def probabilities(network: ResNet34, paths: list[Path]) -> Tensor:
    """Return the probability of each class for each photograph, (n, 1000).

    Args:
        network: The model.
        paths: The photographs.
    """
    network = network.to(memory_format=torch.channels_last)
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    images = (torch.stack([preprocess(Image.open(path)) for path in batch]) for batch in batches)
    return torch.cat([network(batch).softmax(dim=1) for batch in images])


def main() -> None:
    """Run both networks over the folder and print their agreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="dlib's weights in float16, an .npz file")
    parser.add_argument("photographs", type=Path, help="a folder of .jpg files")
    arguments = parser.parse_args()
    paths = sorted(arguments.photographs.glob("*.jpg"))
    if not paths:
        parser.error(f"no photographs in {str(arguments.photographs)!r}; give a folder with .jpg files")
    exact, compact = (probabilities(net, paths) for net in (original(arguments.source), model()))
    agree = exact.argmax(1) == compact.argmax(1)
    sure = exact.amax(1) >= 0.5
    print(f"photographs                                   {len(paths)}")
    print(f"top-1 agreement                               {agree.float().mean():.1%}")
    print(f"... of the {sure.sum()} with a top probability >= 0.5  {agree[sure].float().mean():.1%}")
    print(
        f"mean |difference of the top probability|      {(exact.amax(1) - compact.amax(1)).abs().mean():.4f}"
    )


if __name__ == "__main__":
    main()
