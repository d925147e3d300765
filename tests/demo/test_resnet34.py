import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

import backlight_demo
from backlight_demo.resnet34 import Block, ResNet34, add_padded

STORED = Path(backlight_demo.__file__).parent / "data" / "resnet34-imagenet.npz"


def stored(name: str) -> np.ndarray:
    """The tensor in float64, decoded without the package's own code."""
    with np.load(STORED) as file:
        array = file[name].astype(np.float32)
        if f"{name}.scale" in file.files:
            scale = file[f"{name}.scale"]
            for channel in range(len(array)):
                array[channel] *= scale[channel]
    return array.astype(np.float64)


def convolved(maps: np.ndarray, layer: str, stride: int, padding: int) -> np.ndarray:
    weight, bias = stored(f"{layer}.weight"), stored(f"{layer}.bias")
    maps = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[2]
    n_rows, n_cols = ((side - size) // stride + 1 for side in maps.shape[1:])
    out = np.zeros((len(weight), n_rows, n_cols))
    for row in range(n_rows):
        for col in range(n_cols):
            window = maps[:, row * stride : row * stride + size, col * stride : col * stride + size]
            out[:, row, col] = np.tensordot(weight, window, 3) + bias
    return out


def pooled(maps: np.ndarray, size: int, reduce) -> np.ndarray:
    n_rows, n_cols = ((side - size) // 2 + 1 for side in maps.shape[1:])
    out = np.zeros((len(maps), n_rows, n_cols))
    for row in range(n_rows):
        for col in range(n_cols):
            out[:, row, col] = reduce(
                maps[:, 2 * row : 2 * row + size, 2 * col : 2 * col + size], axis=(1, 2)
            )
    return out


def rectified(maps: np.ndarray) -> np.ndarray:
    return np.maximum(maps, 0)


def captured(network: ResNet34, name: str, image: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(image)[None]
    layers = [network.conv0, network.relu0, network.pool0, *network.group1, network.group2[0]]
    end = layers.index(network.get_submodule(name)) + 1
    with torch.inference_mode():
        for layer in layers[:end]:
            x = copy.deepcopy(layer).double()(x)
    return x[0].numpy()


def test_the_first_block_and_the_first_halving_equal_their_replica_in_loops(network: ResNet34) -> None:
    # 43×43 pixels give 9×9 maps after the pool and, halved, 4×4 ones; 39×39 give 8×8, then 3×3 beside 4×4.
    for side in (43, 39):
        image = np.random.default_rng(side).normal(size=(3, side, side))
        x = pooled(rectified(convolved(image, "conv0", 2, 0)), 3, np.max)
        for block in range(3):
            path = rectified(convolved(x, f"group1.{block}.conv1", 1, 1))
            x = rectified(convolved(path, f"group1.{block}.conv2", 1, 1) + x)
            np.testing.assert_allclose(captured(network, f"group1.{block}", image), x, rtol=1e-9, atol=1e-9)
        path = convolved(rectified(convolved(x, "group2.0.conv1", 2, 0)), "group2.0.conv2", 1, 1)
        shortcut = pooled(x, 2, np.mean)
        total = np.zeros((128, *shortcut.shape[1:]))
        total[:, : path.shape[1], : path.shape[2]] += path
        total[:64] += shortcut
        np.testing.assert_allclose(
            captured(network, "group2.0", image), rectified(total), rtol=1e-9, atol=1e-9
        )


def test_zeros_are_added_after_the_last_channel_row_and_column() -> None:
    a, b = torch.ones(2, 1, 2, 3), torch.ones(2, 2, 3, 1)
    expected = torch.zeros(2, 2, 3, 3)
    expected[:, :1, :2, :] += 1
    expected[:, :, :, :1] += 1
    torch.testing.assert_close(add_padded(a, b), expected)
    torch.testing.assert_close(add_padded(b, a), expected)


def test_the_sizes_are_those_of_dlib(network: ResNet34) -> None:
    sizes: dict[str, tuple[int, ...]] = {}
    x = torch.zeros(1, 3, 227, 227)
    for name, module in network.named_children():
        x = module(x.flatten(1) if name == "fc" else x)
        sizes[name] = tuple(x.shape[1:])
    assert sizes["conv0"] == (64, 111, 111)
    assert sizes["group1"] == (64, 55, 55)
    assert sizes["group2"] == (128, 27, 27)
    assert sizes["group3"] == (256, 13, 13)
    assert sizes["group4"] == (512, 6, 6)
    assert sizes["fc"] == (1000,)
    assert sum(isinstance(module, Block) for module in network.modules()) == 16


def test_an_export_takes_any_batch_and_computes_the_same(network: ResNet34) -> None:
    example = torch.zeros(2, 3, 131, 131)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    images = torch.randn(3, 3, 131, 131, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), network(images))


@pytest.mark.parametrize("size", [(227, 227), (99, 131)])
def test_images_of_other_sizes_pass(network: ResNet34, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, *size)).shape == (1, 1000)
