"""Small networks that use many operators each, most of them in ways that published networks do not."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Wired(nn.Module):
    """Modules and buffers by name, and the function that computes the output from them and the input."""

    def __init__(self, wiring: Callable[[Wired, Tensor], object], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.wiring = wiring
        for name, part in parts.items():
            self.add_module(name, part) if isinstance(part, nn.Module) else self.register_buffer(name, part)

    def forward(self, x: Tensor) -> object:
        return self.wiring(self, x)


def conv(c_in: int, c_out: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, padding=options.pop("padding", kernel // 2), **options)


def contrast() -> nn.Module:
    return nn.Sequential(
        *(conv(3, 8, 5), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(conv(8, 12), nn.ReLU(), nn.LocalResponseNorm(2, k=2.0), nn.MaxPool2d(3, 1)),
        *(conv(12, 12), nn.ReLU(), nn.MaxPool2d(4, 2, padding=1), nn.Flatten(), nn.LazyLinear(6), nn.ReLU()),
    )


def pools() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = net.dilated(F.relu(net.first(x)))
        x = F.relu(net.second(F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)))
        ways = [F.adaptive_avg_pool2d(x, 5), F.adaptive_max_pool2d(x, 5), F.interpolate(x, (5, 5))]
        x = F.relu(net.third(torch.cat(ways, 1)))
        return F.avg_pool2d(x, 2, 1, divisor_override=3).amax((2, 3))

    dilated = nn.MaxPool2d(3, 2, padding=1, dilation=2, ceil_mode=True)
    return Wired(wiring, first=conv(3, 8), dilated=dilated, second=conv(8, 8), third=conv(24, 10))


def attention() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.patches(x))
        q, k, v = net.qkv(x).flatten(2).transpose(1, 2).chunk(3, 2)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        tokens = x.flatten(2).transpose(1, 2)
        weights = (tokens @ tokens.transpose(1, 2) / 4).softmax(-1)  # written by hand
        x = x + (weights @ tokens).transpose(1, 2).reshape(x.shape)
        return F.relu(net.last(x)).mean((2, 3))

    return Wired(wiring, patches=nn.Conv2d(3, 16, 4, 4), qkv=nn.Conv2d(16, 48, 1), last=conv(16, 10))


def squeeze_excite() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        x = x * net.up(F.relu(net.down(x.mean((2, 3), keepdim=True)))).sigmoid()
        x = x * F.hardsigmoid(net.where(torch.cat([x.mean(1, True), x.amax(1, True)], 1)))
        return F.relu(net.last(x) / (1 + x.abs().mean(1, True))).mean((2, 3))

    parts = {"down": nn.Conv2d(8, 2, 1), "up": nn.Conv2d(2, 8, 1), "where": conv(2, 1, 5)}
    return Wired(wiring, first=conv(3, 8), last=conv(8, 10), **parts)


def norms() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.instance(net.first(x)))
        x = F.relu(net.group(net.second(x)))
        x = net.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = F.relu(net.third(net.rms(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)))
        x = F.normalize(F.relu(net.whole(x)), dim=1)
        return F.relu(net.last(x)).flatten(1).sum(1, True)

    parts = {"instance": nn.InstanceNorm2d(8, affine=True), "group": nn.GroupNorm(4, 8)}
    parts |= {"layer": nn.LayerNorm(8), "rms": nn.RMSNorm(8), "whole": nn.LayerNorm([8, 16, 16])}
    return Wired(
        wiring, first=conv(3, 8, stride=2), second=conv(8, 8), third=conv(8, 8), last=conv(8, 8), **parts
    )


def shuffles() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.glu(net.first(x), 1)
        x = F.relu(net.second(F.pixel_unshuffle(x, 2)))
        x = F.channel_shuffle(x, 4)
        a, b = net.third(x).chunk(2, 1)
        x = F.pixel_shuffle(a * b.sigmoid(), 2)
        return F.relu(net.last(x)).mean((2, 3))

    return Wired(wiring, first=conv(3, 16), second=conv(32, 16), third=conv(16, 32), last=conv(4, 6))


def unfolded() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        columns = F.unfold(x, 3, padding=1, stride=2)
        x = F.relu((net.weight @ columns).unflatten(2, (16, 16)))
        x = F.fold(F.unfold(x, 2, stride=2), (16, 16), 3, padding=1, stride=2)[:, ::1]
        return F.relu(x).mean((2, 3))

    return Wired(wiring, first=conv(3, 4), weight=torch.randn(9, 36) / 4)


def joins() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> dict[str, Tensor]:
        a, b, c = F.relu(net.first(x)).split([2, 4, 3], 1)
        x = torch.cat([c, a + 1, b.flip(1)], 1)[:, :, ::2, 1::3]
        pair = torch.stack([x, x.roll(1, 1)], 1)
        first, second = pair.unbind(1)
        x = F.relu(net.second(torch.hstack([first, pair.amax(1), second - first])))
        y = x[:, 1:-2:2, 3:, :-1] + x[:, ::3, :-3, 1:]
        return {"early": first.mean((2, 3)), "late": F.relu(net.third(y)).amax((2, 3))}

    return Wired(wiring, first=conv(3, 9), second=conv(27, 9), third=conv(3, 5))


def indexes() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        x = x[:, net.order][:, :, net.rows]
        x = x.masked_fill(net.holes, 0.5)
        x = torch.where(x > 0.3, x, 0.1 * x)
        picked = x.gather(1, net.order.view(1, 6, 1, 1).expand(x.shape[0], 6, *x.shape[2:]))
        x = F.relu(net.second(torch.cat([picked.index_select(3, net.rows), x[..., net.rows]], 1)))
        return torch.where(net.holes[:, net.rows], x, x.mean()).amax((2, 3))

    rows, holes = torch.tensor([0, 3, 3, 9, 20, 31]), torch.rand(6, 32) > 0.7
    order = torch.tensor([5, 0, 0, 2, 4, 1])
    return Wired(wiring, first=conv(3, 6), second=conv(12, 8), order=order, rows=rows, holes=holes)


def moves() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(F.pad(x, (1, 2, 3, 0), mode="reflect")))
        x = torch.roll(x, (2, -3), (2, 3)).flip(3) + torch.rot90(x[..., :35], 2, (2, 3))
        x = F.relu(net.second(F.pad(F.pad(x, (1, 1, 1, 1), mode="replicate"), (2, 0, 0, 2), mode="circular")))
        x = x.repeat_interleave(2, 2).tile(1, 1, 1, 2)[:, :, :48, :48]
        x = F.relu(net.third(F.interpolate(x, scale_factor=0.5, mode="bilinear")))
        x = F.relu(net.third(F.interpolate(x, (20, 28), mode="bicubic", align_corners=True)))
        return F.interpolate(x, scale_factor=2, mode="nearest").mean((2, 3))

    return Wired(wiring, first=conv(3, 6), second=conv(6, 6), third=conv(6, 6))


def fourier() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        x = torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * net.filter, s=x.shape[2:], norm="ortho")
        return F.relu(net.last(x)).mean((2, 3))

    return Wired(wiring, first=conv(3, 6, stride=2), last=conv(6, 6), filter=torch.rand(6, 16, 9))


def complex_numbers() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        z = torch.view_as_complex(x.unflatten(1, (4, 2)).movedim(2, -1).contiguous())
        z = z * torch.polar(net.size, net.angle)
        x = torch.view_as_real(z).movedim(-1, 2).flatten(1, 2)
        return F.relu(net.last(torch.cat([x, z.abs()], 1))).mean((2, 3))

    parts = {"size": torch.rand(4, 1, 1), "angle": torch.rand(4, 1, 1)}
    return Wired(wiring, first=conv(3, 8, stride=2), last=conv(12, 6), **parts)


def rectifiers() -> nn.Module:
    kinds: list[nn.Module] = [
        nn.PReLU(6, 0.3),
        nn.LeakyReLU(0.2),
        nn.RReLU(),
        nn.ELU(0.7),
        nn.SELU(),
        nn.CELU(),
    ]
    kinds += [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Softplus(), nn.ReLU6()]
    return nn.Sequential(
        conv(3, 6), *(part for kind in kinds for part in (kind, conv(6, 6))), nn.Threshold(0.1, 0.0)
    )


def by_hand() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = net.first(x)
        x = net.second(x * x.sigmoid())
        x = net.second(x * F.relu6(x + 3) / 6)
        x = net.second(0.5 * x * (1 + torch.erf(x / 2**0.5)))
        x = net.second(x.clamp(min=0))
        x = net.second(torch.maximum(x, torch.zeros_like(x)))
        x = net.second(torch.where(x > 0, x, 0.2 * x))
        return net.second((x + x.abs()) / 2).amax((2, 3))

    return Wired(wiring, first=conv(3, 6), second=conv(6, 6))


def squashes() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = net.second(net.first(x).tanh())
        x = net.second(x.sigmoid())
        x = net.second(F.softmax(x, 1) * 6)
        return F.relu(net.second(F.softsign(x))).mean((2, 3))

    return Wired(wiring, first=conv(3, 6, stride=2), second=conv(6, 6))


def channels_last() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = net.embed(x).permute(0, 2, 3, 1)
        x = x + net.narrow(F.gelu(net.wide(net.norm(x))))
        x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        x = F.relu(net.wide(x) @ net.narrow.weight.t())
        return x.mean((1, 2)) @ net.narrow.weight

    parts = {"embed": nn.Conv2d(3, 8, 4, 4), "norm": nn.LayerNorm(8), "wide": nn.Linear(8, 16)}
    return Wired(wiring, narrow=nn.Linear(16, 8), **parts)


def warped() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.up(F.relu(net.first(x))))
        x = F.grid_sample(x, net.grid.expand(x.shape[0], -1, -1, -1), align_corners=False)
        x = F.relu(net.grouped(x))
        return F.relu(net.last(x)).mean((2, 3))

    turn = torch.tensor([[[0.9, -0.3, 0.1], [0.2, 1.1, -0.1]]])
    up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
    grouped = nn.ConvTranspose2d(8, 8, 3, dilation=2, groups=4)
    grid = F.affine_grid(turn, [1, 8, 20, 24], align_corners=False)
    return Wired(wiring, first=conv(3, 8, stride=2), up=up, grid=grid, grouped=grouped, last=conv(8, 6))


def convolutions() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 12, (3, 5), (1, 2), (0, 2), bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12), nn.BatchNorm2d(12), nn.ReLU6()),
        *(nn.Conv2d(12, 12, 3, padding="same", groups=3, padding_mode="reflect"), nn.Dropout(), nn.ReLU()),
        *(
            nn.Unflatten(1, (3, 4)),
            nn.Conv3d(3, 4, (2, 3, 3), padding=(0, 1, 1)),
            nn.ReLU(),
            nn.Flatten(1, 2),
        ),
        *(nn.MaxPool2d(2), nn.Conv2d(12, 6, 1), nn.ReLU(), nn.Flatten(2), nn.Conv1d(6, 6, 3, 2), nn.ReLU()),
    )


def unpooled() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        small, places = F.max_pool2d(x, 2, return_indices=True)
        x = F.max_unpool2d(F.relu(net.second(small)), places, 2)
        kept = x.mean((2, 3), keepdim=True) + (x.pow(2).mean(1, True) + 0.1).sqrt()
        return F.relu(net.first(net.third(x - kept))).flatten(2).topk(3).values.sum(2)

    return Wired(wiring, first=conv(3, 6), second=conv(6, 6), third=conv(6, 3))


def doubles() -> nn.Module:
    def wiring(net: Wired, x: Tensor) -> Tensor:
        x = F.relu(net.first(x))
        x = torch.einsum("nchw,cd,hk->ndkw", x, net.mix, net.rows)
        x = F.relu(F.max_pool2d(x, 3, 2))
        return torch.baddbmm(net.mix[None, :, :1], x.mean(3), x.mean(3).transpose(1, 2)).sum(2)

    return Wired(wiring, first=conv(3, 6), mix=torch.randn(6, 6), rows=torch.randn(32, 24) / 5).double()


SMALL_NETS: dict[str, Callable[[], nn.Module]] = {
    own.__name__: own
    for own in (
        *(
            contrast,
            pools,
            attention,
            squeeze_excite,
            norms,
            shuffles,
            unfolded,
            joins,
            indexes,
            moves,
            fourier,
        ),
        *(
            complex_numbers,
            rectifiers,
            by_hand,
            squashes,
            channels_last,
            warped,
            convolutions,
            unpooled,
            doubles,
        ),
    )
}
