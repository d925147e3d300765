"""Flags that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, nan
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast

import torch
import typer
from PIL import Image
from torch import nn

from backlight.atlas import Atlas, Maps
from backlight.cli.output import console, errors, styled
from backlight.errors import BadInputError
from backlight.images import ImageSource, Preprocessing, open_images
from backlight.models import FORMS, LoadedModel, input_channels, is_code, load_model
from backlight.network import Network, capture
from backlight.storage import check_place, replacing
from backlight.studies.covering import Fill, check_fills
from backlight.studies.results import Result, result_paths
from backlight.text import visible

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
        help="A .safetensors file, a saved state dict or a checkpoint; DEFAULT downloads the zoo's own.",
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
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="The stored values that are black and white: 0,4095 of 12 bits in 16-bit files.",
        rich_help_panel=_PREPROCESSING,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The picture to write (.png, .jpg, .webp).")]


ClassOutput = Annotated[
    str | None,
    typer.Option(
        "--class-output", help="The output that gives the class, by name or place, where there are several."
    ),
]


def load_network(
    model: str,
    weights: str | None,
    device: str = "cpu",
    size: str | None = None,
    resize: int | None = None,
    mean: str | None = None,
    std: str | None = None,
    value_range: str | None = None,
) -> Network:
    """Return the network that the flags describe, captured at its input size.

    Raises:
        BadInputError: An unknown model or device, weights that do not fit, numbers that are none.
    """
    loaded = load_model(model, weights)
    _print_notes(loaded)
    if loaded.is_random:
        errors.print(
            styled(
                "[yellow]note:[/] no --weights given, so the network has random weights and its pictures show only "
                "its architecture"
            ),
            soft_wrap=True,
        )
    return _captured(loaded, _preprocessing(loaded, size, resize, mean, std, value_range), device)


def load_network_of(
    atlas: Atlas, model: str | None, images: str | None, weights: str | None, device: str, command: str
) -> tuple[Network, ImageSource]:
    """Return the network and the images of an atlas: those that flags name, else those of its `backlight build`.

    Args:
        atlas: The atlas; it may come from anybody, so it can only name models of a zoo (docs/security.md).
        model: As the user named it, or None.
        images: As the user named them, or None.
        weights: As the user named them, or None.
        device: Where the network runs.
        command: Which command this is, for advice.

    Raises:
        BadInputError: The atlas does not know them, they are not here, or its model is code that must be named.
    """
    known = atlas.origin
    images = images or known.get("images")
    if model is None:
        model = known.get("model")
        if model is not None and is_code(model):
            raise BadInputError(_to_be_named(atlas, model, images or "IMAGES", weights, command))
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
            f"{error.for_command_line}; {atlas.path.name} was built from {visible(str(known.get('model')))} and "
            f"{visible(str(known.get('images')))}: go to the folder where that was, or give "
            "ATLAS MODEL IMAGES [--weights FILE]"
        ) from error
    _print_notes(loaded)
    return _captured(loaded, atlas.preprocessing, device), source


def _to_be_named(atlas: Atlas, model: str, images: str, weights: str | None, command: str) -> str:
    """Return in one line why a model that an atlas names is not run, and what to type to run it."""
    weights = weights or atlas.origin.get("weights")
    parts = ["backlight", command, str(atlas.path), model, images]
    typed = " ".join(visible(quote(part)) for part in parts + (["--weights", weights] if weights else []))
    return (
        f"{visible(atlas.path.name)} names {visible(repr(model))} as its model, and that is code, which a file "
        f"cannot start by itself; if you trust it, name it on the command line: {typed}"
    )


def say_class_output(net: Network, wanted: str | None, n_labels: int = 0, always: bool = True) -> None:
    """Say which of several outputs of a network the class is read from, or that there is none.

    Args:
        net: The captured network.
        wanted: What --class-output names.
        n_labels: How many names of classes are given.
        always: Whether to say too that a network does not classify, if it has one output only.

    Raises:
        BadInputError: There is no such output, or it gives no class.
    """
    chosen = net.class_output(wanted, n_labels)
    note = chosen.note(net.name)
    if note is not None and (always or len(chosen.outputs) > 1):
        way = "; --class-output takes another" if wanted is None and len(chosen.outputs) > 1 else ""
        errors.print(styled("[yellow]note:[/] {}{}", note, way), soft_wrap=True)


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


def _print_notes(loaded: LoadedModel) -> None:
    """Print what was chosen, stripped or left out while a model was loaded."""
    for note in loaded.notes:
        errors.print(styled("[yellow]note:[/] {}", note), soft_wrap=True)


def _captured(loaded: LoadedModel, preprocessing: Preprocessing, device: str) -> Network:
    on_device(loaded.model, device)
    return capture(loaded.model, (preprocessing.channels, *preprocessing.crop), preprocessing)


def _preprocessing(
    loaded: LoadedModel,
    size: str | None,
    resize: int | None,
    mean: str | None,
    std: str | None,
    value_range: str | None = None,
) -> Preprocessing:
    """Return the zoo's preprocessing with the flags in its place where they are given."""
    known = loaded.preprocessing or Preprocessing.default(3, loaded.size or 224)
    crop = parse_size(size) if size is not None else known.crop
    if size is not None and resize is None:
        base = known.resize if isinstance(known.resize, int) else None
        resize_to = round(base * min(crop) / min(known.crop)) if base else None
    else:
        resize_to = resize
    channels = _channels(loaded, crop)
    same = loaded.preprocessing is not None and channels == known.channels
    return Preprocessing(
        resize=resize_to if (size or resize) else known.resize,
        crop=crop,
        mean=_spread("--mean", mean, channels) or (known.mean if same else (0.0,) * channels),
        std=_spread("--std", std, channels) or (known.std if same else (1.0,) * channels),
        interpolation=known.interpolation,
        range=known.range if value_range is None else parse_range(value_range),
    )


def _channels(loaded: LoadedModel, size: tuple[int, int]) -> int:
    """Return how many channels the pictures need that a model reads.

    Raises:
        BadInputError: Neither 1 nor 3.
    """
    is_known = loaded.preprocessing is not None and "#" not in loaded.spec  # a part may read other channels
    if is_known and loaded.preprocessing is not None:
        return loaded.preprocessing.channels
    channels = loaded.channels or input_channels(loaded.model, size)
    if channels not in (1, 3):
        raise BadInputError(
            f"{loaded.spec} reads {channels} channels, and pictures have 1 (grey) or 3 (RGB); use it from Python: "
            f"backlight.capture(model, ({channels}, {size[0]}, {size[1]})), with tensors as images"
        )
    return channels


def _spread(flag: str, text: str | None, channels: int) -> tuple[float, ...] | None:
    """Return one number for each channel: those of a flag, or its only one for all of them."""
    numbers = _numbers(flag, text)
    if numbers is None or len(numbers) == channels:
        return numbers
    if len(numbers) == 1:
        return numbers * channels
    reads = "1 channel (grey)" if channels == 1 else f"{channels} channels"
    raise BadInputError(
        f"{flag} has {len(numbers)} numbers and the model reads {reads}; give one number, or one for each channel"
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


def parse_range(text: str) -> tuple[float, float]:
    """Return (LOW, HIGH) of `0,4095`.

    Raises:
        BadInputError: Not two numbers, the lower first.

    Example:
        >>> parse_range("-1024,3071")
        (-1024.0, 3071.0)
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = nan
    if not (isfinite(low) and isfinite(high) and low < high):
        raise BadInputError(f"--range is two numbers LOW,HIGH, the lower first, such as 0,4095, got {text!r}")
    return low, high


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
    return check_place(path, "picture")


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
    if output is not None:
        check_place(output, "figure")
    if save is not None:
        for path in result_paths(save):
            check_place(path, "file of numbers")


def write_result(
    result: Result, output: Path | None, save: Path | None, plot: Callable[[], Plot] | None = None
) -> None:
    """Write a study's numbers and its figure, where they are asked for.

    Args:
        result: What the study found.
        output: Where its figure goes.
        save: Where its numbers go.
        plot: Draws the figure; None draws `result.plot()`.

    Raises:
        StorageError: They cannot be written.
    """
    try:
        if save is not None:
            result.save(save)
            console.print(f"{save.with_suffix('')}.json, .npz", soft_wrap=True)
    finally:  # where one of them cannot be written, the other is
        if output is not None:
            figure = (plot or result.plot)()
            with replacing(output) as (fresh,):
                figure.savefig(fresh, dpi=_DPI)
            console.print(f"{output}", soft_wrap=True)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture.

    Raises:
        StorageError: It cannot be written; a picture that was there is as it was.
    """
    with replacing(path) as (fresh,):
        picture.save(fresh)


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(p) for p in text.split(","))
    except ValueError as error:
        raise BadInputError(
            f"{flag} is a list of numbers such as 0.48,0.46,0.41, but came {text!r}"
        ) from error
