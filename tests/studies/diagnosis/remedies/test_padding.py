"""Even padding: spread over both sides, and input sizes that leave nothing over at any stride."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import backlight
from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import even_input, even_size, one_sided, pad_evenly, uneven_windows


def _strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2),
    ).eval()  # fmt: skip


def _unseen(size: int, windows: list[tuple[int, int, int]]) -> list[int]:
    """Return for each of (kernel, stride, padding) how many padded rows are behind the last window."""
    found = []
    for kernel, stride, pad in windows:
        starts = [at for at in range(0, size + 2 * pad, stride) if at + kernel <= size + 2 * pad]
        found.append(size + 2 * pad - (starts[-1] + kernel))
        size = len(starts)
    return found


@pytest.mark.parametrize("size", range(20, 28))
def test_rows_left_over_are_counted(size: int) -> None:
    net = backlight.capture(_strided(), (3, size, 29))
    rows, cols = (_unseen(own, [(3, 2, 1), (3, 2, 0), (3, 2, 1)]) for own in (size, 29))
    wanted = [(name, left) for name, *left in zip(("0", "2", "3"), rows, cols, strict=True)]
    assert uneven_windows(net) == [(name, tuple(left)) for name, left in wanted if any(left)]


@pytest.mark.parametrize("mode", ["pad", "resize"])
@pytest.mark.parametrize("size", [(32, 40), (33, 31), (48, 47)])
def test_the_even_size_is_the_nearest(size: tuple[int, int], mode: str) -> None:
    windows = [(3, 2, 1), (3, 2, 0), (3, 2, 1)]
    wanted = []
    for own in size:
        reach = range(own if mode == "pad" else own - 16, own + 17)
        even = [new for new in reach if not any(_unseen(new, windows))]
        wanted.append(min(abs(new - own) for new in even))
    found = even_size(backlight.capture(_strided(), (3, *size)), mode)
    assert [abs(new - own) for new, own in zip(found, size, strict=True)] == wanted
    assert uneven_windows(backlight.capture(_strided(), (3, *found))) == []


def test_a_padded_input_is_continued_by_its_edges() -> None:
    model = _strided()
    net = backlight.capture(model, (3, 32, 32))
    found = even_input(model, net)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    height, width = even_size(net)
    rows, cols = height - 32, width - 32
    inner = F.pad(x, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2), mode="replicate")
    assert torch.equal(found.model(x), found.model.model(inner))
    assert torch.equal(found.model.model(inner), model(inner))
    assert (
        found.done
        == f"input padded from 32x32 to {height}x{width} by its edge pixels: nothing is left over at 2 strides"
    )


def test_a_resized_input_keeps_what_it_shows() -> None:
    model = _strided()
    found = even_input(model, backlight.capture(model, (3, 32, 32)), "resize")
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    seen: list[Tensor] = []
    found.model.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    found.model(ramp)
    assert seen[0].shape[2:] == even_size(backlight.capture(model, (3, 32, 32)), "resize")
    assert float(seen[0].min()) == pytest.approx(0, abs=0.02)
    assert float(seen[0].max()) == pytest.approx(1, abs=0.02)
    assert found.done.startswith("input resized from 32x32 to ")


def test_a_network_that_takes_one_size_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    with pytest.raises(
        RemedyError, match=r"^Sequential takes no input of 9x9, at which nothing would be left over"
    ):
        even_input(model, backlight.capture(model, (3, 8, 8)))


def test_a_network_without_left_overs_is_refused_and_modes_are_checked() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()).eval()
    net = backlight.capture(model, (3, 9, 9))
    with pytest.raises(RemedyError, match=r"^no stride of Sequential leaves rows or columns over$"):
        even_input(model, net)
    with pytest.raises(BadInputError, match=r"^mode must be one of 'pad', 'resize', got 'crop'$"):
        even_input(model, net, "crop")


def test_strides_that_never_agree_have_no_even_size() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 2, 2, 2), nn.Conv2d(3, 2, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x).mean((2, 3)) + self.two(x).mean((2, 3))

    with pytest.raises(
        RemedyError, match=r"^no input size within 64 pixels of 8x8 leaves nothing over at every stride$"
    ):
        even_size(backlight.capture(Two(), (3, 8, 8)))


# --- padding on one side --------------------------------------------------------------------------------------


def _padded(pad: nn.Module) -> nn.Module:
    return nn.Sequential(pad, nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.ReLU()).eval()


@pytest.mark.parametrize(
    ("pad", "even"),
    [
        (lambda: nn.ZeroPad2d((0, 2, 0, 2)), (1, 1, 1, 1)),
        (lambda: nn.ConstantPad2d((3, 1, 0, 0), 0.5), (2, 2, 0, 0)),
        (lambda: nn.ReflectionPad2d((0, 0, 4, 0)), (0, 0, 2, 2)),
        (lambda: nn.ReplicationPad2d((1, 1, 0, 2)), (1, 1, 1, 1)),
    ],
)
def test_one_sided_padding_is_spread_over_both_sides(
    pad: Callable[[], nn.Module], even: tuple[int, ...]
) -> None:
    model = _padded(pad())
    net = backlight.capture(model, (3, 8, 8))
    assert one_sided(net) == one_sided(net, "2") == [("0", model[0].padding)]
    new = pad_evenly(model, net, "2").model
    assert new[0].padding == even
    assert type(new[0]) is type(model[0])
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert new(x).shape == model(x).shape
    assert one_sided(backlight.capture(new, (3, 8, 8))) == []
    assert new.state_dict().keys() == model.state_dict().keys()


def test_spread_padding_is_what_the_convolution_would_have_added() -> None:
    model = _padded(nn.ZeroPad2d((0, 2, 0, 2)))
    new = pad_evenly(model, backlight.capture(model, (3, 8, 8))).model
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(new[:2](x), F.conv2d(x, model[1].weight, model[1].bias, padding=1))


class ByFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 2, 0, 2)))


@pytest.mark.parametrize(
    ("make", "layer", "reason"),
    [
        (lambda: _padded(nn.ZeroPad2d((0, 1, 0, 1))), None, r"the padding \(0, 1, 0, 1\) of '0' is odd"),
        (lambda: _padded(nn.ZeroPad2d(1)), None, "Sequential has no padding on one side alone"),
        (lambda: _padded(nn.ZeroPad2d((0, 2, 0, 2))), "4", "the layer '4' has no padding on one side alone"),
        (ByFunction, None, "'pad' is called as a function and not as a module of torch.nn"),
    ],
)
def test_what_cannot_be_spread_has_one_reason(
    make: Callable[[], nn.Module], layer: str | None, reason: str
) -> None:
    model = make()
    with pytest.raises(RemedyError, match=rf"^{reason}"):
        pad_evenly(model, backlight.capture(model, (3, 8, 8)), layer)
