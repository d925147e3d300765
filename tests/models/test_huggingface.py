"""Models of transformers by folder and by name: weights and preprocessing beside them, nothing fetched, no code run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backlight import Preprocessing, capture
from backlight.errors import BadInputError, WeightsError
from backlight.models import is_code, load_model

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 12],
    "depths": [1, 1],
    "layer_type": "basic",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small ResNet, its weights and its image processor."""
    folder = tmp_path_factory.mktemp("hf") / "resnet"
    torch.manual_seed(0)
    config = transformers.ResNetConfig(**SIZES, num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.8).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing be reached, and nothing that was downloaded be found."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nothing"))


def test_a_folder_gives_the_model_its_weights_and_its_preprocessing(saved: Path) -> None:
    loaded = load_model(f"hf:{saved}")
    assert not loaded.is_random
    assert loaded.notes == ()
    assert loaded.channels == 3
    assert loaded.preprocessing is not None
    assert (loaded.preprocessing.resize, loaded.preprocessing.crop) == (40, (32, 32))
    own = load_file(saved / "model.safetensors")
    assert all(torch.equal(value, own[name]) for name, value in loaded.model.state_dict().items())
    net = capture(loaded.model, preprocessing=loaded.preprocessing)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    processor = transformers.AutoImageProcessor.from_pretrained(saved, backend="pil")
    expected = loaded.model(**processor(picture, return_tensors="pt")).logits
    assert torch.allclose(net(net.prepare(picture)).logits, expected, atol=1e-5)
    assert len(net.default_layers) > 3
    assert capture(loaded.model, preprocessing=processor).preprocessing == loaded.preprocessing


def test_a_backbone_is_taken_where_it_is_no_classifier(tmp_path: Path) -> None:
    transformers.ResNetBackbone(transformers.ResNetConfig(**SIZES, out_indices=[1, 2])).save_pretrained(
        tmp_path
    )
    loaded = load_model(f"hf:{tmp_path}")
    assert type(loaded.model).__name__ == "ResNetBackbone"
    assert loaded.preprocessing is None
    assert loaded.notes == ("no image processor lies beside the model; values in 0..1 are taken",)
    assert capture(loaded.model, (3, 32, 32)).outputs[0].name.startswith("feature_maps")
    assert load_model(f"hf:{tmp_path}#embedder").model is not None


def _segformer() -> Any:
    sizes = {
        "depths": [1, 1],
        "hidden_sizes": [8, 12],
        "patch_sizes": [3, 3],
        "strides": [2, 2],
        "sr_ratios": [2, 1],
    }
    sizes |= {"num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}
    config = transformers.SegformerConfig(num_encoder_blocks=2, decoder_hidden_size=8, **sizes)
    return transformers.SegformerForSemanticSegmentation(config)


def _vision_transformer() -> Any:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=32, patch_size=8))


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (
            _segformer,
            "SegformerModel",
            "saved as SegformerForSemanticSegmentation, which is no image classifier",
        ),
        (_vision_transformer, "ViTModel", None),
    ],
    ids=["segmentation", "no head"],
)
def test_a_model_of_another_task_gets_no_random_head(
    make: Any, kind: str, said: str | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    whole = make()
    whole.save_pretrained(tmp_path)
    loaded = load_model(f"hf:{tmp_path}")
    assert type(loaded.model).__name__ == kind
    assert not loaded.is_random
    assert [note for note in loaded.notes if "random" in note] == []
    assert said is None or loaded.notes[0].startswith(said)
    part = getattr(whole, "segformer", whole).state_dict()
    assert all(torch.equal(value, part[name]) for name, value in loaded.model.state_dict().items())
    assert capture(loaded.model, (3, 32, 32)).default_layers


def test_a_configuration_alone_makes_random_weights_and_a_file_gives_others(
    saved: Path, tmp_path: Path
) -> None:
    shutil.copy(saved / "config.json", tmp_path)
    assert load_model(f"hf:{tmp_path}").is_random
    weights = {name: value + 1 for name, value in load_file(saved / "model.safetensors").items()}
    save_file(weights, tmp_path / "other.safetensors")
    for folder in (tmp_path, saved):
        loaded = load_model(f"hf:{folder}", str(tmp_path / "other.safetensors"))
        assert not loaded.is_random
        assert all(torch.equal(value, weights[name]) for name, value in loaded.model.state_dict().items())


def test_weights_that_are_missing_are_told(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    weights = load_file(saved / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "classifier" not in k},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    (note,) = load_model(f"hf:{tmp_path}").notes
    assert note == "2 tensors not among its weights, and random: classifier.1.bias, classifier.1.weight"


def test_a_processor_that_does_more_is_told(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rescale_factor": 1.0}))
    loaded = load_model(f"hf:{tmp_path}")
    assert loaded.preprocessing is None
    assert "its image processor is not used, and values in 0..1 are taken: ConvNext" in loaded.notes[0]


def _with(folder: Path, saved: Path, **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({**json.loads((saved / "config.json").read_text()), **changes})
    )
    return f"hf:{folder}"


def test_what_cannot_be_loaded_gets_one_line(saved: Path, tmp_path: Path) -> None:
    bert = {"model_type": "bert", "architectures": ["BertModel"]}
    (tmp_path / "empty").mkdir()
    given = {
        f"hf:{tmp_path / 'empty'}": r"cannot be loaded: ",
        _with(tmp_path / "bert", saved, **bert): r"is a BertModel, and of transformers image classifiers",
        "hf:nobody/nothing-here": r"is neither a folder nor downloaded already; weights='DEFAULT' downloads it$",
        "hf:": r"'hf:' is not a model",
    }
    for spec, message in given.items():
        with pytest.raises(BadInputError, match=message) as raised:
            load_model(spec)
        assert "\n" not in str(raised.value)
    with pytest.raises(BadInputError, match="is a folder and has no DEFAULT weights; give none, or a file"):
        load_model(f"hf:{saved}", "DEFAULT")
    with pytest.raises(WeightsError, match=r"^hf:nobody/nothing-here cannot be downloaded: "):
        load_model("hf:nobody/nothing-here", "DEFAULT")


def test_code_that_comes_with_a_model_is_not_run(saved: Path, tmp_path: Path) -> None:
    theirs = {"AutoConfig": "theirs.Config", "AutoModelForImageClassification": "theirs.Model"}
    spec = _with(tmp_path / "theirs", saved, model_type="theirs", auto_map=theirs)
    (tmp_path / "theirs" / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(
        BadInputError, match="needs code that comes with it, which is never run; load it in a file of"
    ):
        load_model(spec)
    assert not (tmp_path / "ran").exists()


def test_kernels_that_a_configuration_names_are_not_fetched(saved: Path, tmp_path: Path) -> None:
    spec = _with(
        tmp_path / "kernels", saved, attn_implementation="somebody/kernels", _attn_implementation="a/b"
    )
    config: Any = load_model(spec).model.config
    assert config._attn_implementation == "eager"


def test_a_stranger_cannot_name_one(saved: Path) -> None:
    for spec in (f"hf:{saved}", "hf:microsoft/resnet-50"):
        assert is_code(spec)


def test_a_folder_named_without_its_kind_is_suggested(saved: Path) -> None:
    with pytest.raises(BadInputError, match=r"is not a model; .*; did you mean hf:.*resnet\?$"):
        load_model(str(saved))


def test_without_transformers_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(
        BadInputError, match=r"transformers is not installed; `pip install 'backlight\[hf\]'`"
    ):
        load_model("hf:anything")


def test_its_preprocessing_is_that_of_the_plain_door(saved: Path) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(saved)
    assert load_model(f"hf:{saved}").preprocessing == Preprocessing.from_hf(processor)
