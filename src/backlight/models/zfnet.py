"""The network of Zeiler & Fergus, and AlexNet with its local response normalisation.

*Source*: Zeiler & Fergus (2013), Fig. 3; Krizhevsky et al. (2012), one-tower sizes.
"""

from __future__ import annotations

from torch import nn


def zfnet(num_classes: int = 1000) -> nn.Sequential:
    """Return Zeiler & Fergus's network, untrained: input (n, 3, 224, 224), output (n, num_classes) logits.

    Spatial sizes are 110, 55, 26, 13, 13, 13, 13 and 6. *Differs*: the paper gives no padding; a padding of 1
    in the first convolution, none in the second, and max pooling that rounds up reproduce its sizes. It does not give
    the constants of its contrast normalisation either; these are AlexNet's. The input is ordinary normalised
    RGB, without subtracting the paper's per-pixel mean.

    Example:
        >>> import torch, backlight
        >>> backlight.zfnet(10)(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 10])
    """
    features = [
        *_stage(3, 96, kernel=7, stride=2, padding=1),  # 224 -> 110
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 55
        _contrast_norm(),
        *_stage(96, 256, kernel=5, stride=2, padding=0),  # 26
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 13
        _contrast_norm(),
        *_stage(256, 384, kernel=3, stride=1, padding=1),
        *_stage(384, 384, kernel=3, stride=1, padding=1),
        *_stage(384, 256, kernel=3, stride=1, padding=1),
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 6
    ]
    return _with_classifier(features, num_classes)


def alexnet_lrn(num_classes: int = 1000) -> nn.Sequential:
    """Return AlexNet in one tower with its local response normalisation, untrained.

    Input (n, 3, 227, 227), output (n, num_classes) logits; spatial sizes 55, 27, 27, 13, 13, 13, 13 and 6.
    *Differs*: the original splits layers 2, 4 and 5 into two groups; here every map reads all maps below.
    """
    features = [
        *_stage(3, 96, kernel=11, stride=4, padding=0),  # 227 -> 55
        _contrast_norm(),
        nn.MaxPool2d(3, 2),  # 27
        *_stage(96, 256, kernel=5, stride=1, padding=2),
        _contrast_norm(),
        nn.MaxPool2d(3, 2),  # 13
        *_stage(256, 384, kernel=3, stride=1, padding=1),
        *_stage(384, 384, kernel=3, stride=1, padding=1),
        *_stage(384, 256, kernel=3, stride=1, padding=1),
        nn.MaxPool2d(3, 2),  # 6
    ]
    return _with_classifier(features, num_classes)


def _stage(c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, kernel, stride, padding), nn.ReLU(inplace=True)]


def _contrast_norm() -> nn.Module:
    # AlexNet's alpha multiplies the sum over the 5 maps; PyTorch's multiplies their mean.
    return nn.LocalResponseNorm(5, alpha=1e-4 * 5, beta=0.75, k=2.0)


def _with_classifier(features: list[nn.Module], num_classes: int) -> nn.Sequential:
    classifier = nn.Sequential(
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, num_classes),
    )
    parts = {"features": nn.Sequential(*features), "flatten": nn.Flatten(), "classifier": classifier}
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model
