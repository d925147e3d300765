import numpy as np
import pytest
import torch
import torchvision
from torchvision.transforms import v2

from backlight.errors import BadInputError
from backlight.images import FunctionPreprocessing
from backlight.images.function_calls import called, described, normalising
from images.pictures import PICTURES


def named(picture):
    return torch.full((1, 4, 4), np.asarray(picture).mean() / 255)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda p: v2.functional.pil_to_tensor(p)[:, :5, :5],
            r"it gave a torch.uint8; a tensor \(c, h, w\) of floats",
        ),
        (np.asarray, r"^numpy.asarray cannot be a preprocessing: it gave a ndarray; a tensor"),
        (
            lambda p: torch.rand(3, 4, 4),
            r"gives another tensor each time; leave what is random out of it, as for eval",
        ),
        (torchvision.transforms.ToTensor(), r"gives 3x300x420 of a wide picture and 3x420x300 of a high one"),
        (
            lambda p: torch.zeros(2, 4, 4),
            r"it gave a tensor 2x4x4; \(c, h, w\) is expected, of 1 or 3 channels$",
        ),
        (lambda p: torch.full((3, 4, 4), torch.nan), r"it gave NaN or infinite values$"),
        (lambda p: 1 / 0, r"it failed: ZeroDivisionError: division by zero$"),
        (
            lambda p: named(p) * 9 - 3,
            r"with mean \(0\) and deviation \(1\) undone, lie in .* mean=\(\.\.\.\), std=",
        ),
    ],
)
def test_functions_that_cannot_be_one(function, message):
    with pytest.raises(BadInputError, match=message):
        FunctionPreprocessing.of(function)


def test_descriptions_are_the_same_in_every_run():
    assert described(named).endswith("images.test_function_calls.named")
    assert described(v2.Compose([v2.Lambda(named), v2.Resize(9)])).count("0x") == 0
    assert "Resize(size=[9]" in described(v2.Compose([v2.Resize(9)]))
    assert len(described(v2.Compose([v2.Resize(9)] * 50))) == 300
    assert described(type("Own", (), {"__call__": lambda self, picture: picture})()).endswith(".Own")


def test_a_batch_of_one_is_one():
    assert called(lambda picture: named(picture)[None].double(), PICTURES[0]).shape == (1, 4, 4)


def test_the_last_normalize_counts():
    nested = torch.nn.Sequential(
        v2.Normalize((0.1,), (0.2,)), torch.nn.Sequential(v2.Normalize([0.3], [0.4]))
    )
    assert normalising(nested, 3) == ([0.3] * 3, [0.4] * 3)
    assert normalising(v2.Compose([v2.Identity()]), 1) == ((0.0,), (1.0,))
