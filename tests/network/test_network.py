"""A captured network: what it takes and gives, and the layers that it knows by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backlight import GRADIENT, Preprocessing, Unit, capture, project, strongest
from backlight.errors import BadInputError, UnknownLayerError
from conftest import captured_small_net
from small_zoo import captured_squeezenet


def test_an_example_that_is_not_an_image_is_refused() -> None:
    with pytest.raises(BadInputError, match="an example is"):
        capture(nn.Identity(), torch.zeros(3, 5))


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("example", "message"),
    [
        (64, r"got 64; give \(3, 64, 64\), or \(1, 64, 64\) for grey"),
        ("64", r"got str; give what else .* capture\(model, preprocessing=\.\.\.\)"),
        (lambda image: image, r"got function; give what else .* capture\(model, preprocessing=\.\.\.\)"),
    ],
    ids=["a side", "a text", "a function"],
)
def test_what_is_no_size_is_refused_with_the_way_to_write_it(example: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        capture(nn.Conv2d(3, 2, 1), example)


def test_a_preprocessing_in_the_place_of_the_example_is_the_preprocessing() -> None:
    own = Preprocessing.imagenet(32)
    net = capture(nn.Conv2d(3, 2, 1), own)
    assert (net.input_shape, net.preprocessing) == ((3, 32, 32), own)
    with pytest.raises(BadInputError, match="two preprocessings were given"):
        capture(nn.Conv2d(3, 2, 1), own, own)


def test_an_unknown_layer_is_named_with_the_closest_one() -> None:
    net = captured_squeezenet()
    with pytest.raises(
        UnknownLayerError, match=r"no layer 'features\.3\.cta'; did you mean 'features\.3\.cat'"
    ):
        net.layer("features.3.cta")


class _TakesPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x.float() / 255))


def test_whole_numbers_are_given_as_floating_ones_and_scaled_by_the_model() -> None:
    torch.manual_seed(0)
    model, x = _TakesPixels(), torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    net = capture(model, x)
    assert net.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(net(net.prepare(x)), model(x))
    picture = project(net, x, strongest(net, x, "relu", 1))
    assert picture.dtype == torch.float32
    assert picture.any()


@pytest.mark.parametrize("dtype", [torch.half, torch.double])
def test_an_example_gets_the_floating_type_of_the_weights(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(dtype)
    assert capture(model, torch.rand(1, 3, 8, 8)).dtype == dtype


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(n, 4, 3) for n in (3, 4, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.stem(x))
        return {"left": self.left(x).mean((2, 3)), "right": self.right(x).mean((2, 3))}


def test_the_layers_that_lead_to_an_output_are_those_that_it_is_computed_from() -> None:
    net = capture(_TwoHeads(), (3, 9, 9))
    left, right = net.outputs
    assert (left.name, right.name) == ("left", "right")
    assert [layer.name for layer in net.leading_to(right)] == ["stem", "relu", "right", "mean_1"]
    assert net.leading_to(None) == net.layers
    assert [layer.name for layer in net.leading_to(left)] == ["stem", "relu", "left", "mean"]


class _Returns(nn.Module):
    """Five scores, and what a function makes of them."""

    def __init__(self, returned: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.returned = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), returned

    def forward(self, x: Tensor) -> Any:
        maps = self.conv(x).relu()
        return self.returned(maps, self.head(maps.mean((2, 3))))


@pytest.mark.parametrize(
    ("returned", "name"),
    [
        (lambda maps, scores: scores, "head"),
        (lambda maps, scores: scores.log_softmax(1), "log_softmax"),
        (lambda maps, scores: {"logits": scores, "maps": maps}, "head"),
        (lambda maps, scores: (scores, scores.tanh()[:, :3], scores.sum(1)), "getitem"),
        (lambda maps, scores: maps, "relu"),
    ],
)
def test_the_output_is_a_layer_whose_units_are_the_classes(
    returned: Callable[[Tensor, Tensor], Any], name: str
) -> None:
    net = capture(_Returns(returned), (3, 8, 8))
    assert net.output in net.layers
    assert net.output.name.strip("_") == name
    images = torch.rand(3, 3, 8, 8)
    answer = net(images)
    chosen = (
        answer["logits"] if isinstance(answer, dict) else answer[1] if isinstance(answer, tuple) else answer
    )
    assert torch.equal(net.features([net.output])(images)[0], chosen)
    if not net.output.is_spatial:
        units = strongest(net, images, net.output)
        assert [unit.channel for unit in units] == chosen.argmax(1).tolist()
        values = project(net, images, units, GRADIENT, return_activations=True)[1]
        torch.testing.assert_close(values, chosen.amax(1))
        assert (
            project(net, images, Unit(net.output.name, 2), GRADIENT).units == (Unit(net.output.name, 2),) * 3
        )


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (lambda maps, scores: scores[:, 0], "one output \\(one number\\)"),
        (lambda maps, scores: (maps, maps.tanh()), "'0' \\(4x6x6\\) and '1' \\(4x6x6\\)"),
    ],
)
def test_an_output_that_is_no_layer_or_none_of_several_is_refused(
    returned: Callable[[Tensor, Tensor], Any], what: str
) -> None:
    net = capture(_Returns(returned), (3, 8, 8))
    with pytest.raises(
        BadInputError,
        match=f"^_Returns has no layer that is its output: it returns {what}; choose a layer by",
    ):
        _ = net.output


def test_a_network_says_its_input_and_how_much_it_shows() -> None:
    net = captured_small_net()
    assert repr(net) == "Network(SmallNet, input 3x32x32, 2 layers, 20 feature maps)"
    assert net.where(net.node("relu1")) == "relu1"
    assert (
        repr(capture(nn.Conv2d(3, 4, 3), (3, 8, 8)))
        == "Network(Conv2d, input 3x8x8, 1 layer, 4 feature maps)"
    )


def test_inputs_are_made_a_batch_of_the_networks_type_and_those_of_another_size_are_refused() -> None:
    net, image = captured_small_net(), torch.rand(3, 32, 32, dtype=torch.float64)
    batch = net.prepare(image)
    assert (batch.shape, batch.dtype) == ((1, 3, 32, 32), torch.float32)
    torch.testing.assert_close(net.prepare(image[None]), batch, rtol=0, atol=0)
    with pytest.raises(
        BadInputError, match="captured for inputs of 3x32x32, got 2x3x32x30; resize the images or capture"
    ):
        net.prepare(torch.rand(2, 3, 32, 30))
    with pytest.raises(BadInputError, match=r"without preprocessing and takes tensors only; pass capture\("):
        net.prepare("picture.png")
