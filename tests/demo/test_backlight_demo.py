import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import backlight_demo
from backlight_demo import PREPROCESSING, ResNet34, labels, model, photographs, preprocess

ROOT = Path(__file__).parents[2]
DATA = Path(backlight_demo.__file__).parent / "data"
SOURCE = ROOT.parent / "shared" / "models" / "dlib-resnet34-imagenet-fp16.npz"
MODULES = [
    importlib.import_module(f"backlight_demo.{found.name}")
    for found in pkgutil.iter_modules(backlight_demo.__path__)
]


def test_unmistakable_photographs_are_recognised(network: ResNet34) -> None:
    expected = {
        "baseball": "baseball",
        "cheetah": "cheetah",
        "chameleon": "African_chameleon",
        "giant_panda": "giant_panda",
        "koala": "koala",
        "paint_brushes": "paintbrush",
        "polar_bear": "ice_bear",
        "red_panda": "lesser_panda",
    }
    images = [preprocess(Image.open(photographs() / f"{name}.jpg")) for name in expected]
    with torch.inference_mode():
        probabilities, indices = network(torch.stack(images)).softmax(1).max(1)
    assert [labels()[index] for index in indices] == list(expected.values())
    assert probabilities.min() > 0.95


def test_the_model_is_ready_to_use_and_leaves_the_random_numbers_alone() -> None:
    state = torch.random.get_rng_state()
    network = model()
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert not network.training
    assert {(p.dtype, p.device.type, p.requires_grad) for p in network.parameters()} == {
        (torch.float32, "cpu", True)
    }


def test_the_labels_are_a_thousand_names() -> None:
    assert len(labels()) == 1000
    assert all(labels())


def test_the_weights_fit_into_25_megabytes_and_their_licence_is_beside_them() -> None:
    assert (DATA / "resnet34-imagenet.npz").stat().st_size < 25e6
    assert (DATA / "resnet34-imagenet-LICENSE").read_text().startswith("CC0 1.0 Universal")


def test_every_photograph_has_one_line_of_attribution_with_a_licence() -> None:
    text = (photographs() / "ATTRIBUTION.md").read_text(encoding="utf-8")
    credited = re.findall(r"^\| (\S+\.jpg) \|.*(?:CC0-|CC-BY|Public Domain)", text, flags=re.MULTILINE)
    assert sorted(credited) == sorted(path.name for path in photographs().glob("*.jpg"))


def test_every_photograph_opens_and_is_large_enough_for_the_crop() -> None:
    for path in photographs().glob("*.jpg"):
        with Image.open(path) as image:
            assert image.mode == "RGB", path.name
            assert min(image.size) == PREPROCESSING["resize"], path.name


def test_preprocessing_is_that_of_dlib() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    crop = pixels[14:241, 36:263].astype(np.float64)
    expected = (crop - [122.782, 117.001, 104.298]) / 256
    result = preprocess(Image.fromarray(pixels)).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_the_crop_rounds_halves_to_even_and_the_long_side_down() -> None:
    # 300 - 227 = 73, half of it 36.5, so column 36; 258 - 227 = 31, half of it 15.5, so column 16.
    ramp = np.zeros((256, 258, 3), np.uint8)
    ramp[:, :, 0] = np.arange(258).clip(max=255)
    red = preprocess(Image.fromarray(ramp))[0, 0] * 256 + 122.782
    assert round(red[0].item()) == 16
    squeezed = Image.new("RGB", (515, 512))
    assert preprocess(squeezed).shape == (3, 227, 227)


@pytest.mark.parametrize("module", [backlight_demo, *MODULES], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_run(module) -> None:
    assert doctest.testmod(module, extraglobs={"torch": torch}).failed == 0


def test_the_example_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "demo" / "README.md").read_text(), flags=re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "cheetah\n"


@pytest.mark.shared
def test_the_weights_are_those_that_the_script_makes() -> None:
    if not SOURCE.exists():
        pytest.skip(f"needs dlib's weights at {SOURCE}")
    spec = importlib.util.spec_from_file_location("make_weights", ROOT / "demo" / "make_weights.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.compact(script.renamed(SOURCE))
    with np.load(DATA / "resnet34-imagenet.npz") as kept:
        assert made.keys() == set(kept.files)
        for name, array in made.items():
            assert array.dtype == kept[name].dtype, name
            np.testing.assert_array_equal(array, kept[name], err_msg=name)
