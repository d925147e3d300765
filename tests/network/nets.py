"""Networks made of a function, captured, for the tests of layers and of what is left out."""

from torch import Tensor, nn

from backlight import capture
from backlight.network import Network

SIDE = 8


class Net(nn.Module):
    """A network from a function and the modules that it uses."""

    def __init__(self, function, *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def captured(model: nn.Module, channels: int = 3, side: int = SIDE) -> Network:
    return capture(model.eval(), (channels, side, side))


def defaults(net: Network) -> list[str]:
    return [layer.name for layer in net.default_layers]
