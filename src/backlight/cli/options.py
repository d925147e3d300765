"""Flags that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast

import torch
import typer
from PIL import Image
from torch import nn

from backlight.atlas import Atlas, Maps
from backlight.cli.output import console, errors
from backlight.errors import BadInputError, StorageError
from backlight.images import ImageSource, Preprocessing, open_images
from backlight.network import Network, capture
from backlight.network.specs import FORMS, LoadedModel, load_model
from backlight.studies.covering import Fill, check_fills
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot

M = TypeVar("M", bound=nn.Module)
_DPI = 130
_PREPROCESSING = "Preprocessing (where the zoo does not say)"

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=f"The model: {FORMS}.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="A .safetensors file or a saved state dict; DEFAULT downloads the zoo's own.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]
RULES_HELP = "deconvnet, guided or gradient; with options such as deconvnet,unpool=assign-largest."
Rules = Annotated[str, typer.Option("--rules", help=RULES_HELP)]
SeedValue = Annotated[
    str,
    typer.Option(
        "--seed-value",
        help="What is projected back from the unit: `activation`, its own, or a number; 1 shows what raises a unit "
        "whose activation is negative.",
    ),
]
Size = Annotated[
    str | None, typer.Option("--size", help="Input size, 224 or 224x320.", rich_help_panel=_PREPROCESSING)
]
Resize = Annotated[
    int | None,
    typer.Option("--resize", help="Short side before the centre crop.", rich_help_panel=_PREPROCESSING),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        help="Mean by channel, of values in 0..1: 0.5 or 0.48,0.46,0.41.",
        rich_help_panel=_PREPROCESSING,
    ),
]
Std = Annotated[
    str | None, typer.Option("--std", help="Standard deviation by channel.", rich_help_panel=_PREPROCESSING)
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The picture to write (.png, .jpg, .webp).")]


def load_network(
    model: str,
    weights: str | None,
    device: str = "cpu",
    size: str | None = None,
    resize: int | None = None,
    mean: str | None = None,
    std: str | None = None,
) -> Network:
    """Return the network that the flags describe, captured at its input size.

    Raises:
        BadInputError: An unknown model or device, weights that do not fit, numbers that are none.
    """
    loaded = load_model(model, weights)
    if loaded.is_random:
        errors.print(
            "[yellow]note:[/] no --weights given, so the network has random weights and its pictures show only "
            "its architecture",
            soft_wrap=True,
        )
    return _captured(loaded, _preprocessing(loaded, size, resize, mean, std), device)


def load_network_of(
    atlas: Atlas, model: str | None, images: str | None, weights: str | None, device: str
) -> tuple[Network, ImageSource]:
    """Return the network and the images of an atlas: those that flags name, else those of its `backlight build`.

    Raises:
        BadInputError: The atlas does not know them, or they are not here.
    """
    known = atlas.origin
    model = model or known.get("model")
    images = images or known.get("images")
    if model is None or images is None:
        raise BadInputError(
            f"{atlas.path.name} was built from Python and does not know its model and images; "
            f"give them: ATLAS MODEL IMAGES [--weights FILE]"
        )
    weights = weights or known.get("weights")
    try:
        loaded, source = load_model(model, weights), open_images(images)
    except BadInputError as error:
        raise BadInputError(
            f"{error}; {atlas.path.name} was built from {known.get('model')} and {known.get('images')}: "
            "go to the folder where that was, or give ATLAS MODEL IMAGES [--weights FILE]"
        ) from error
    return _captured(loaded, atlas.preprocessing, device), source


def on_device(model: M, device: str) -> M:
    """Return a model on a device.

    Raises:
        BadInputError: It cannot be used here.
    """
    try:
        torch.zeros(1, device=device)
        return model.to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"device {device!r} cannot be used here ({reason}); cpu always can") from error


def _captured(loaded: LoadedModel, preprocessing: Preprocessing, device: str) -> Network:
    on_device(loaded.model, device)
    return capture(loaded.model, (preprocessing.channels, *preprocessing.crop), preprocessing)


def _preprocessing(
    loaded: LoadedModel, size: str | None, resize: int | None, mean: str | None, std: str | None
) -> Preprocessing:
    """Return the zoo's preprocessing with the flags in its place where they are given."""
    known = loaded.preprocessing or Preprocessing.default(loaded.channels, 224)
    crop = parse_size(size) if size is not None else known.crop
    if size is not None and resize is None:
        base = known.resize if isinstance(known.resize, int) else None
        resize_to = round(base * min(crop) / min(known.crop)) if base else None
    else:
        resize_to = resize
    means, stds = _numbers("--mean", mean), _numbers("--std", std)
    channels = len(means or stds or known.mean)
    return Preprocessing(
        resize=resize_to if (size or resize) else known.resize,
        crop=crop,
        mean=means or (known.mean if channels == known.channels else (0.0,) * channels),
        std=stds or (known.std if channels == known.channels else (1.0,) * channels),
        interpolation=known.interpolation,
    )


def parse_seed_value(text: str) -> float | Literal["activation"]:
    """Return what `--seed-value` says."""
    if text.strip() == "activation":
        return "activation"
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise BadInputError(f"--seed-value is `activation` or a number such as 1, got {text!r}")
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Return (h, w) of `224` or `224x320`."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.strip().isdigit() for p in parts):
        raise BadInputError(f"--size is one number or HxW, such as 224 or 224x320, but came {text!r}")
    return int(parts[0]), int(parts[-1])


def parse_maps(text: str) -> Maps:
    """Return the feature maps that `16`, `all` or `3,17,40` stands for."""
    if text == "all":
        return None
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not parts or not all(p.isdigit() for p in parts):
        raise BadInputError(f"--maps is a number, a list such as 3,17,40 or all, but came {text!r}")
    return int(text) if "," not in text else [int(p) for p in parts]


def parse_channels(text: str) -> list[int]:
    """Return the channels of `3` or `3,17,40`."""
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not parts or not all(p.isdigit() for p in parts):
        raise BadInputError(f"--channels is a list such as 3,17,40, but came {text!r}")
    return [int(p) for p in parts]


def parse_layers(text: str) -> list[str] | None:
    """Return the layer names of `all` (every default layer) or `features.3.cat,features.7.cat`."""
    if text == "all":
        return None
    names = [p.strip() for p in text.split(",") if p.strip()]
    if not names:
        raise BadInputError(f"--layers names layers with commas, or is all, but came {text!r}")
    return names


def parse_layers_of(net: Network, text: str) -> list[str] | None:
    """Return the layer names of `default` (None: what the study takes), `all`, or names with commas."""
    if text == "default":
        return None
    return parse_layers(text) or [layer.name for layer in net.default_layers]


def parse_fill(text: str) -> Fill:
    """Return the fill of that name."""
    check_fills([text])
    return cast(Fill, text)


def parse_fills(text: str) -> tuple[Fill, ...]:
    """Return the fills of `mean,blur`."""
    return tuple(parse_fill(part.strip()) for part in text.split(","))


def check_output(path: Path) -> Path:
    """Return the path of a picture to write, refusing what cannot be written before any work is done."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise BadInputError(f"a picture is written as .png, .jpg or .webp, but came {str(path)!r}")
    if not path.parent.is_dir():
        raise BadInputError(f"no such folder: {str(path.parent)!r}; make it first")
    return path


PlotOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="The figure to write (.png, .pdf, .svg).")
]
OwnModel = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="As for `build`; else as the atlas was built.")
]
OwnImages = Annotated[
    str | None, typer.Argument(metavar="IMAGES", help="As for `build`; else as the atlas was built.")
]
SaveStem = Annotated[
    Path | None, typer.Option("--save", help="Also write the numbers: to SAVE.json and SAVE.npz.")
]


def check_plot(output: Path | None, save: Path | None) -> None:
    """Refuse a figure or numbers that cannot be written, before any work is done."""
    if output is not None and output.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise BadInputError(f"a figure is written as .png, .pdf or .svg, but came {str(output)!r}")
    for path in (output, save):
        if path is not None and not path.parent.is_dir():
            raise BadInputError(f"no such folder: {str(path.parent)!r}; make it first")


def write_result(
    result: Result, output: Path | None, save: Path | None, plot: Callable[[], Plot] | None = None
) -> None:
    """Write a study's figure and its numbers, where they are asked for.

    Args:
        result: What the study found.
        output: Where its figure goes.
        save: Where its numbers go.
        plot: Draws the figure; None draws `result.plot()`.

    Raises:
        StorageError: They cannot be written.
    """
    if output is not None:
        try:
            (plot or result.plot)().savefig(output, dpi=_DPI)
        except OSError as error:
            raise StorageError(
                f"cannot write {str(output)!r} ({error.strerror or error}); choose another place"
            ) from error
        console.print(f"{output}", soft_wrap=True)
    if save is not None:
        result.save(save)
        console.print(f"{save.with_suffix('')}.json, .npz", soft_wrap=True)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        picture.save(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {str(path)!r} ({error.strerror or error}); choose another place"
        ) from error


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(p) for p in text.split(","))
    except ValueError as error:
        raise BadInputError(
            f"{flag} is a list of numbers such as 0.48,0.46,0.41, but came {text!r}"
        ) from error
