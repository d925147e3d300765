"""Which of a model's outputs gives the class: one rule, used by every study and reported where there is a choice."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import backlight
from backlight.errors import BadInputError
from backlight.inversion import InversionConfig
from backlight.network.class_output import Output, class_output
from backlight.studies import correspondence, invariance, occlusion

SIZE = 16
PLAIN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5,) * 3, (0.5,) * 3)
FEW = invariance.InvarianceConfig(translation=(0, 2), scale=(1.0,), rotation=(0.0,))


class _Both(NamedTuple):
    out: Tensor
    embedding: Tensor


class TwoHeads(nn.Module):
    """An embedding of 8 values, 4 logits made of it, and an auxiliary head of 6 beside them."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.conv, self.act, self.form = nn.Conv2d(3, 8, 3), nn.ReLU(), form
        self.fc, self.aux = nn.Linear(8, 4), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Any:
        maps = self.act(self.conv(x))
        embedding = maps.mean((2, 3))
        logits, aux = self.fc(embedding), self.aux(embedding)
        return {
            "pair": (embedding, logits),
            "dict": {"logits": logits, "aux": aux},
            "named": _Both(logits, embedding),
            "nested": (embedding, {"head": [logits, None]}),
            "softmax": (logits, logits.softmax(1)),
            "heads": (logits, aux),
            "segmentation": {"out": maps, "embedding": embedding},
            "maps": (maps, maps + 1),
            "places": (logits, logits.argsort(1).repeat(1, 3)),
            "one": [logits],
        }[self.form]


@cache
def _net(form: str) -> tuple[backlight.Network, TwoHeads]:
    torch.manual_seed(3)
    model = TwoHeads(form).eval()
    return backlight.capture(model, (3, SIZE, SIZE), PLAIN), model


def _picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8))


def _truth(model: TwoHeads) -> np.ndarray:
    """Return the probabilities of the four classes."""
    with torch.no_grad():
        logits = model.fc(model.act(model.conv(PLAIN.batch([_picture()]))).mean((2, 3)))
    return logits.softmax(1)[0].numpy()


@pytest.mark.parametrize(
    ("form", "name", "rule"),
    [
        ("pair", "1", "computed from the others"),
        ("dict", "logits", "by its name"),
        ("named", "out", "by its name"),
        ("nested", "1.head.0", "computed from the others"),
        ("places", "0", "the only one with one number for each of several classes"),
    ],
)
def test_every_study_reads_the_class_from_the_logits(form: str, name: str, rule: str) -> None:
    net, model = _net(form)
    assert net.class_output().rule == rule
    truth = _truth(model)
    covered = occlusion.run(net, _picture(), "act", occlusion.OcclusionConfig(size=8, stride=8))
    assert (covered.watched.class_index, covered.watched.output) == (truth.argmax(), name)
    assert covered.watched.probability == pytest.approx(truth.max(), rel=1e-5)
    assert covered.summary()["class"]["output"] == name
    assert f"d, e: by the output '{name}'." in covered.plot().get_supxlabel()
    moved = invariance.run(net, [_picture()], ["act"], config=FEW)
    assert (moved.classes.tolist(), moved.output) == ([truth.argmax()], name)
    assert f"read from the output '{name}'." in " ".join(moved.plot().get_supxlabel().split())
    assert moved.original_probabilities[0] == pytest.approx(truth.max(), rel=1e-5)
    found = backlight.invert(net, _picture(), "conv", InversionConfig())
    assert (found.label, found.output) == (truth.argmax(), name)


def test_labels_decide_between_outputs_without_names() -> None:
    net, _ = _net("heads")
    assert net.class_output().name == "1"  # the widest
    assert net.class_output(n_labels=4).name == "0"
    assert net.class_output(n_labels=4).rule == "the one with 4 classes"
    config = occlusion.OcclusionConfig(size=8, stride=8, class_names=("a", "b", "c", "d"))
    assert occlusion.run(net, _picture(), "act", config).watched.output == "0"
    pair = Output(0, "0", (4,), True), Output(1, "1", (4,), True)
    assert class_output("Net", pair).name == "1"
    assert class_output("Net", pair, n_labels=4).name == "1"


def test_an_output_can_be_chosen_by_name_and_by_place() -> None:
    net, model = _net("dict")
    assert [net.class_output(wanted).name for wanted in ("aux", 1, "1", -1)] == ["aux"] * 4
    config = occlusion.OcclusionConfig(size=8, stride=8, output="aux")
    result = occlusion.run(net, _picture(), "act", config)
    with torch.no_grad():
        aux = model(PLAIN.batch([_picture()]))["aux"]
    assert result.watched.class_index == int(aux.argmax())
    assert result.watched.output == "aux"


@pytest.mark.parametrize("output", ["aux", 1])
def test_the_chosen_output_is_kept_with_the_result(output: str | int, tmp_path: Path) -> None:
    net, _ = _net("dict")
    config = occlusion.OcclusionConfig(size=8, stride=8, output=output)
    occlusion.run(net, _picture(), "act", config).save(tmp_path / "found")
    loaded = occlusion.Occlusion.load(tmp_path / "found")
    assert (loaded.config.output, loaded.watched.output) == (output, "aux")


def test_softmax_beside_its_logits_stays_as_it_is() -> None:
    net, model = _net("softmax")
    result = occlusion.run(net, _picture(), "act", occlusion.OcclusionConfig(size=8, stride=8))
    assert result.watched.output == "1"
    assert result.watched.probability == pytest.approx(_truth(model).max(), rel=1e-5)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            "segmentation",
            "TwoHeads returns 'out' (8x14x14) and 'embedding' (8), and 'out' is not one number for each of several "
            "classes; no class is followed",
        ),
        (
            "maps",
            "TwoHeads returns '0' (8x14x14) and '1' (8x14x14), none of which is one number for each of several "
            "classes; no class is followed",
        ),
    ],
)
def test_maps_give_no_class_and_one_line_says_what_there_is(form: str, said: str) -> None:
    net, _ = _net(form)
    chosen = net.class_output()
    assert chosen.output is None
    assert chosen.note(net.name) == said
    result = occlusion.run(net, _picture(), "act", occlusion.OcclusionConfig(size=8, stride=8))
    assert result.watched.class_index is None
    assert result.probabilities.size == 0
    with pytest.raises(BadInputError, match=r"^classes cannot be followed: TwoHeads returns '.* \(8x14x14\)"):
        occlusion.run(net, _picture(), "act", occlusion.OcclusionConfig(size=8, stride=8, class_index=0))


@pytest.mark.parametrize(
    ("form", "wanted", "message"),
    [
        (
            "dict",
            "head",
            r"^TwoHeads has no output 'head': it returns 'logits' \(4\) and 'aux' \(6\); choose",
        ),
        ("dict", 2, r"^TwoHeads has no output 2: it returns"),
        ("segmentation", "out", r"^output 'out' of TwoHeads gives no class: .*'embedding' \(8\); choose"),
    ],
)
def test_an_output_that_gives_no_class_is_refused(form: str, wanted: str | int, message: str) -> None:
    net, _ = _net(form)
    with pytest.raises(BadInputError, match=message):
        net.class_output(wanted)
    with pytest.raises(BadInputError, match=message):
        backlight.invert(net, _picture(), "conv", InversionConfig(output=wanted))


def test_names_that_do_not_fit_say_which_output_was_read() -> None:
    net, _ = _net("dict")
    with pytest.raises(
        BadInputError, match=r"has 4 classes in its output 'logits', got 3 names.*another output"
    ):
        occlusion.run(
            net, _picture(), "act", occlusion.OcclusionConfig(size=8, stride=8, class_names=("a", "b", "c"))
        )


@pytest.mark.parametrize("form", ["pair", "dict", "named", "nested", "one"])
def test_the_network_returns_what_the_model_returns(form: str) -> None:
    net, model = _net(form)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = model(x)
    assert type(net(x)) is type(expected)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=0)


def test_the_layer_before_the_output_is_that_before_the_class() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 8, 3), nn.ReLU()
            self.fc1, self.fc2, self.proj1, self.proj2 = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.act(self.conv(x)).mean((2, 3))
            logits = self.fc2(self.fc1(maps).relu())
            return {"logits": logits, "projected": self.proj2(self.proj1(maps).tanh())}

    net = backlight.capture(Heads(), (3, SIZE, SIZE))
    assert correspondence.default_layers(net) == ["act", "relu"]
