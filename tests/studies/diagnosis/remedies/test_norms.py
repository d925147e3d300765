"""Batch norms estimated anew: the mean and the variance of what reaches them, and nothing else of the copy changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import estimate_norms, low_pass, remedies_for

X = 3 * torch.randn(70, 3, 9, 9, generator=torch.Generator().manual_seed(0)) + 1


class Net(nn.Module):
    """Two norms with a dropout between them, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.drop, self.relu = nn.Dropout(0.5), nn.ReLU()
        self.two, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.twice = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.one(x)))
        x = self.norm2(self.two(self.drop(x)))
        return self.twice(self.twice(x))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def _as_a_norm_does(maps: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean and the unbiased variance of each map, and the maps normalised by the biased one."""
    mean, var = maps.mean((0, 2, 3)), maps.var((0, 2, 3))
    biased = maps.var((0, 2, 3), unbiased=False)
    scaled = (maps - mean[:, None, None]) / (biased + norm.eps).sqrt()[:, None, None]
    return mean, var, scaled


def test_norms_get_the_statistics_of_what_reaches_them(model: nn.Module) -> None:
    few = X[:20]
    found = estimate_norms(model, backlight.capture(model, (3, 9, 9)), few)
    with torch.no_grad():
        mean, var, normed = _as_a_norm_does(model.one(few), model.norm1)
        torch.testing.assert_close(found.model.norm1.running_mean, mean)
        torch.testing.assert_close(found.model.norm1.running_var, var)
        # the second sees what the first makes of this batch, and no dropout
        mean, var, _ = _as_a_norm_does(model.two(torch.relu(normed)), model.norm2)
    torch.testing.assert_close(found.model.norm2.running_mean, mean)
    torch.testing.assert_close(found.model.norm2.running_var, var)
    assert found.done == "2 batch norms estimated anew on 20 images"


def test_batches_count_alike(model: nn.Module) -> None:
    found = estimate_norms(model, backlight.capture(model, (3, 9, 9)), X).model  # 70 images are three batches
    with torch.no_grad():
        parts = [_as_a_norm_does(model.one(part), model.norm1) for part in X.tensor_split(3)]
    for name, own in zip(("running_mean", "running_var"), zip(*parts, strict=True), strict=False):
        torch.testing.assert_close(getattr(found.norm1, name), torch.stack(own).mean(0))


def test_nothing_else_is_changed(model: nn.Module) -> None:
    before = {name: own.clone() for name, own in model.state_dict().items()}
    found = estimate_norms(model, backlight.capture(model, (3, 9, 9)), X).model
    for name, own in model.state_dict().items():
        assert torch.equal(own, before[name]), name
    changed = {name for name, own in found.state_dict().items() if not torch.equal(own, before[name])}
    # `twice` is called at two places, which one estimate would mix
    assert {name.partition(".")[0] for name in changed} == {"norm1", "norm2"}
    assert {name.partition(".")[2] for name in changed} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert not any(own.training for own in found.modules())
    assert [found.norm1.momentum, found.drop.p] == [model.norm1.momentum, 0.5]


def test_norms_before_a_low_pass_keep_their_statistics() -> None:
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()]
    model = nn.Sequential(*stem, nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    net = backlight.capture(model, (3, 9, 9))
    kept = low_pass(model, net)
    found = low_pass(model, net, images=X[:20])
    assert kept.done == "low-pass before the stride of '3'"
    assert found.done == "low-pass before the stride of '3'; 1 batch norm estimated anew on 20 images"
    assert torch.equal(found.model[1].running_mean, model[1].running_mean)
    with torch.no_grad():
        reached = found.model[:5](X[:20])
    torch.testing.assert_close(found.model[5].running_mean, reached.mean((0, 2, 3)))
    assert torch.equal(kept.model[5].running_mean, model[5].running_mean)


@pytest.mark.parametrize("kind", ["aliased", "checkerboard"])
def test_low_passes_that_are_tried_come_with_it(model: nn.Module, kind: str) -> None:
    net = backlight.capture(model, (3, 9, 9))
    for own in remedies_for(model, net, kind, "relu", [], X[:20]):
        assert own.apply().done.endswith("; 2 batch norms estimated anew on 20 images")


def test_a_low_pass_of_a_network_without_norms_is_as_before() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()).eval()
    net = backlight.capture(model, (3, 9, 9))
    assert low_pass(model, net, images=X[:2]).done == "low-pass before the stride of '0'"


@pytest.mark.parametrize(
    ("make", "n_images", "error", "reason"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()),
            4,
            RemedyError,
            "Sequential has no batch norm",
        ),
        (Net, 1, BadInputError, "batch norms are estimated on 2 images or more, got 1"),
    ],
)
def test_what_cannot_be_estimated_has_one_reason(
    make: Callable[[], nn.Module], n_images: int, error: type[Exception], reason: str
) -> None:
    model = make().eval()
    with pytest.raises(error, match=rf"^{reason}"):
        estimate_norms(model, backlight.capture(model, (3, 9, 9)), X[:n_images])
