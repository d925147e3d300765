"""Running a model in Python: it answers as in inference, and the model, the images and the random numbers stay."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

import pytest
import torch
from torch import Tensor, nn

from backlight.network.eager import arguments_of, containers_of, inference_of, run_eagerly


class _Remembers(nn.Module):
    """Writes into its input, a buffer, an attribute and its containers, and drops in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.calls = nn.Dropout(0.5), 0
        self.register_buffer("seen", torch.zeros(3))
        self.kept: list[Tensor] = []
        self.named: dict[str, Tensor] = {}
        self.sizes: set[int] = {1}

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        self.calls += 1
        self.seen += x.mean((0, 2, 3))
        self.kept.append(x)
        self.named["x"] = x
        self.sizes.add(len(x))
        self.extra = x
        return self.drop(x)


def test_a_model_answers_as_in_inference_and_nothing_stays_of_the_run() -> None:
    model, images = _Remembers().train(), torch.ones(2, 3, 4, 4)
    model.drop.eval()
    held = model.kept, model.named, model.sizes
    found = run_eagerly(model, images)
    assert isinstance(found, Tensor)
    assert torch.equal(found, torch.full((2, 3, 4, 4), 2.0))
    assert torch.equal(images, torch.ones(2, 3, 4, 4))
    assert (model.training, model.drop.training) == (True, False)
    assert (model.calls, model.kept, model.named, model.sizes) == (0, [], {}, {1})
    assert all(a is b for a, b in zip(held, (model.kept, model.named, model.sizes), strict=True))
    assert not model.seen.any()
    assert not hasattr(model, "extra")


class _Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(3)


def test_random_numbers_are_the_same_each_time_and_the_users_go_on() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first, second = (run_eagerly(_Draws(), torch.zeros(3)) for _ in range(2))
    assert torch.equal(first, second)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(2), expected)


class _Fails(_Remembers):
    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise KeyError("no such key")


def test_an_error_of_the_model_is_passed_on_and_the_model_is_left_as_it_was_too() -> None:
    model = _Fails()
    with pytest.raises(KeyError, match="no such key"):
        run_eagerly(model, torch.ones(1, 3, 2, 2))
    assert (model.training, model.calls, model.kept, model.sizes) == (True, 0, [], {1})
    assert not model.seen.any()


def test_every_submodule_is_in_inference_mode_and_gets_its_own_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)))
    model[1][1].eval()
    modes = [module.training for module in model.modules()]
    with inference_of(model):
        assert not any(module.training for module in model.modules())
        model[0].p = 0.9
        model[0].new = 1  # type: ignore[assignment]
    assert [module.training for module in model.modules()] == modes == [True, True, True, True, False]
    assert model[0].p == 0.5
    assert not hasattr(model[0], "new")


def test_weights_are_the_same_tensors_afterwards() -> None:
    model = nn.BatchNorm2d(3)
    before = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    run_eagerly(model, torch.rand(2, 3, 4, 4))
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert id(tensor) == before[name][0]
        assert torch.equal(tensor, before[name][1])


def test_the_arguments_are_those_of_forward_and_none_of_what_has_no_signature() -> None:
    class Two(nn.Module):
        def forward(self, image: Tensor, scale: float = 2.0) -> Tensor:
            return image * scale

    assert [argument.name for argument in arguments_of(Two())] == ["image", "scale"]
    builtin = nn.Module()
    builtin.forward = torch.relu
    assert arguments_of(builtin) == []


def test_containers_are_the_plain_lists_dicts_and_sets_among_attributes() -> None:
    class Own(list):  # type: ignore[type-arg]
        pass

    found = [[1], {"a": 1}, {2}, deque([3]), Counter("ab"), OrderedDict(b=2)]
    others = ["text", (1, 2), 4, Own([5]), torch.zeros(2)]
    attributes = {str(i): value for i, value in enumerate([*others, *found])}
    assert [id(own) for own in containers_of(attributes)] == [id(own) for own in found]
