"""Opening what commands work on: the model that flags describe, or the model and images of an atlas."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from backlight.atlas import Atlas
from backlight.cli.output import doing, note, say
from backlight.cli.parsing import parse_layers, parse_numbers, parse_range, parse_size
from backlight.cli.typed import others
from backlight.errors import BacklightWarning, BadInputError, CaptureError, first_line, tell
from backlight.images import FunctionPreprocessing, ImageSource, Preprocessing, is_address, open_images
from backlight.models import LoadedModel, input_channels, is_code, load_model
from backlight.network import Network, capture
from backlight.text import visible

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Overrides:
    """The flags that override a model's own preprocessing, as they were given."""

    size: str | None = None
    resize: int | None = None
    mean: str | None = None
    std: str | None = None
    value_range: str | None = None


def load_network(
    model: str, weights: str | None, device: str = "cpu", overrides: Overrides | None = None
) -> Network:
    """Return the network that the flags describe, captured at its input size.

    Raises:
        BadInputError: An unknown model or device, weights that do not fit, malformed numbers.
    """
    return load_both(model, weights, device, overrides)[1]


def load_both(
    model: str, weights: str | None, device: str = "cpu", overrides: Overrides | None = None
) -> tuple[nn.Module, Network]:
    """Return the model that the flags describe, and the network that was captured from it.

    Raises:
        BadInputError: As for `load_network`.
    """
    loaded = load_model(model, weights)
    _print_notes(loaded)
    if loaded.is_random:
        note(
            "no --weights given, so the network has random weights and its pictures show only its architecture"
        )
    net = _captured(loaded, _preprocessing(loaded, overrides or Overrides()), device)
    return loaded.model, net


def preprocessing_of(model: str, overrides: Overrides) -> Preprocessing:
    """Return how the pictures of a model are preprocessed, whose weights are loaded later.

    Raises:
        BadInputError: An unknown model, malformed numbers.
    """
    return _preprocessing(load_model(model), overrides)


def load_checkpoint(model: str, weights: str, device: str) -> nn.Module:
    """Return a model with the weights of one of several checkpoints; what was chosen in it is said once for all.

    Raises:
        WeightsError: The weights cannot be read or do not fit.
        BadInputError: An unknown model or device.
    """
    loaded = load_model(model, weights)
    for text in loaded.notes:
        tell(BacklightWarning(text))
    return on_device(loaded.model, device)


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
        BadInputError: The atlas does not know them, they are not here, its model is code or its images are at an
            address, which must be named.
    """
    known = atlas.origin
    is_named = images is not None
    images = images or known.get("images")
    if model is None:
        model = known.get("model")
        if model is not None and is_code(model):
            raise BadInputError(_why_code_is_not_run(atlas, model, images or "IMAGES", weights, command))
    if model is not None and images is not None and is_address(images) and not is_named:
        raise BadInputError(
            f"{why_no_store_is_asked(atlas, images)}; if you trust it, name it on the command line: "
            f"{_typed(atlas, model, images, weights, command)}"
        )
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
            f"{visible(str(known.get('images')))}: run this in the folder where it was built, or give "
            "ATLAS MODEL IMAGES [--weights FILE]"
        ) from error
    _print_notes(loaded)
    return _captured(loaded, atlas.preprocessing, device), source


def load_network_for(atlas: Atlas, model: str, weights: str | None, device: str) -> Network:
    """Return the network that flags name, captured as it was for an atlas.

    Raises:
        BadInputError: An unknown model or device, or weights that do not fit.
    """
    loaded = load_model(model, weights)
    _print_notes(loaded)
    return _captured(loaded, atlas.preprocessing, device)


def chosen_layers(net: Network, text: str) -> list[str] | None:
    """Return the layer names of `default` (None: the command chooses), `all`, or names with commas."""
    if text == "default":
        return None
    return parse_layers(text) or [layer.name for layer in net.default_layers]


def say_class_output(net: Network, wanted: str | None, n_labels: int = 0, always: bool = True) -> None:
    """Say which of several outputs of a network the class is read from, or that there is none.

    Args:
        net: The captured network.
        wanted: What --class-output names.
        n_labels: How many names of classes are given.
        always: Whether to say too that a network does not classify, if it has one output only.

    Raises:
        BadInputError: There is no such output, or it does not give the class.
    """
    chosen = net.class_output(wanted, n_labels)
    text = chosen.note(net.name)
    if text is not None and (always or len(chosen.outputs) > 1):
        others = "; --class-output chooses another" if wanted is None and len(chosen.outputs) > 1 else ""
        note(f"{text}{others}")


def print_left_out(net: Network) -> None:
    """Say what makes features on the path to the output and is not a layer: what, where it begins, and why."""
    for line in net.coverage().left_out_in_words():
        say("[yellow]Left out:[/] {}", line)


def on_device(model: M, device: str) -> M:
    """Return a model on a device.

    Raises:
        BadInputError: It is not available.
    """
    try:
        torch.zeros(1, device=device)
        return model.to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise BadInputError(
            f"device {device!r} is not available on this machine ({first_line(error)}); use cpu"
        ) from error


def sample_ids(source: ImageSource, n_images: int | None, seed: int) -> list[int]:
    """Return the ids of a random sample of N images of a source, in order; all for None.

    Raises:
        BadInputError: Less than 1 is asked for.
    """
    if n_images is not None and n_images < 1:
        raise BadInputError(f"--images must be at least 1, got {n_images}")
    if n_images is None or n_images >= len(source):
        return list(range(len(source)))
    return sorted(np.random.default_rng(seed).permutation(len(source))[:n_images].tolist())


def why_no_store_is_asked(atlas: Atlas, images: str) -> str:
    """Return why images at an address are not read that only an atlas names: without what to do instead."""
    return (
        f"{visible(atlas.path.name)} names {visible(repr(images))} as its images, and that is an address, which is "
        "not contacted because a file says so"
    )


def _why_code_is_not_run(atlas: Atlas, model: str, images: str, weights: str | None, command: str) -> str:
    """Return in one line why a model that an atlas names is not run, and what to type to run it."""
    is_folder = model.startswith("hf:")
    what, does = ("a folder or download of somebody's", "open") if is_folder else ("code", "start")
    return (
        f"{visible(atlas.path.name)} names {visible(repr(model))} as its model, and that is {what}, which a file "
        f"cannot {does} by itself; if you trust it, name it on the command line: "
        f"{_typed(atlas, model, images, weights, command)}"
    )


def _typed(atlas: Atlas, model: str, images: str, weights: str | None, command: str) -> str:
    """Return the command line that names a model and images which an atlas names, with all else that was typed."""
    weights = weights or atlas.origin.get("weights")
    own = (str(atlas.path), model, images)
    parts = ["backlight", command, *own, *others(*command.split(), *own, "--weights", weights)]
    return " ".join(visible(quote(part)) for part in parts + (["--weights", weights] if weights else []))


def _print_notes(loaded: LoadedModel) -> None:
    """Print what was chosen, stripped or left out while a model was loaded."""
    for text in loaded.notes:
        note(text)


def _captured(loaded: LoadedModel, preprocessing: Preprocessing, device: str) -> Network:
    if isinstance(preprocessing, FunctionPreprocessing):
        preprocessing.check_usable()
    try:
        with doing(f"capturing {loaded.spec}"):
            on_device(loaded.model, device)
            return capture(loaded.model, (preprocessing.channels, *preprocessing.crop), preprocessing)
    except CaptureError as error:
        # the part that the error suggests, in the words in which this model was named
        own = f"{loaded.spec}{'.' if '#' in loaded.spec else '#'}"
        raise CaptureError(error.for_command_line.replace("MODEL#", own)) from None


def _preprocessing(loaded: LoadedModel, given: Overrides) -> Preprocessing:
    """Return the zoo's preprocessing, overridden by the flags that are given."""
    known = loaded.preprocessing or Preprocessing.default(3, loaded.size or 224)
    crop = parse_size(given.size) if given.size is not None else known.crop
    resize = known.resize
    if given.resize is not None:
        resize = given.resize
    elif given.size is not None:
        resize = known.with_size(crop).resize
    channels = _channels(loaded, crop)
    same = loaded.preprocessing is not None and channels == known.channels
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=_per_channel("--mean", given.mean, channels) or (known.mean if same else (0.0,) * channels),
        std=_per_channel("--std", given.std, channels) or (known.std if same else (1.0,) * channels),
        interpolation=known.interpolation,
        range=known.range if given.value_range is None else parse_range(given.value_range),
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


def _per_channel(flag: str, text: str | None, channels: int) -> tuple[float, ...] | None:
    """Return one number for each channel: those of a flag, or its only one for all of them."""
    numbers = parse_numbers(flag, text)
    if numbers is None or len(numbers) == channels:
        return numbers
    if len(numbers) == 1:
        return numbers * channels
    reads = "1 channel (grey)" if channels == 1 else f"{channels} channels"
    raise BadInputError(
        f"{flag} has {len(numbers)} numbers and the model reads {reads}; give one number, or one for each channel"
    )
