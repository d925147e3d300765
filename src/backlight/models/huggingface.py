"""Models of transformers: of a folder that `save_pretrained` wrote, or by name. No code of others is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from backlight.errors import BadInputError, WeightsError
from backlight.images import Preprocessing
from backlight.models.loaded import LoadedModel
from backlight.models.loading import load_weights
from backlight.network.inputs import size_said
from backlight.text import counted, one_line

PREFIX = "hf:"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def from_hugging_face(place: str, weights: str | None) -> LoadedModel:
    """Return a classifier of transformers, or else a backbone, with its own weights and preprocessing.

    Args:
        place: A folder of this machine with a `config.json`; or a name, as of huggingface.co, whose files were
            downloaded before.
        weights: None takes the weights that lie there; DEFAULT also downloads what a name stands for; a file replaces
            them.

    Raises:
        BadInputError: transformers is not installed, nothing is there, or it is neither a classifier nor a backbone.
        WeightsError: The weights cannot be read or do not fit.

    *Convention*: the preprocessing is that of the image processor that lies beside, where it can be described. Nothing
    is downloaded but by DEFAULT, and code that comes with a model is never run.
    """
    transformers = _package()
    spec, is_here = f"{PREFIX}{place}", Path(place).expanduser().is_dir()
    place = str(Path(place).expanduser()) if is_here else place
    if weights == "DEFAULT" and is_here:
        raise BadInputError(f"{spec!r} is a folder and has no DEFAULT weights; give none, or a file")
    options: dict[str, Any] = {"local_files_only": weights != "DEFAULT", "trust_remote_code": False}
    with _quiet(transformers), _errors(spec, is_here, weights == "DEFAULT"):
        config = transformers.AutoConfig.from_pretrained(place, **options)
        kind, headless = _kind(transformers, config, spec)
        # A configuration may name attention kernels to be fetched, which are code: "eager" is transformers' own.
        options["attn_implementation"] = "eager"
        notes: list[str | None] = []
        is_random = is_here and not any(own for pattern in _WEIGHTS for own in Path(place).glob(pattern))
        if is_random or weights not in (None, "DEFAULT"):
            config._attn_implementation = options["attn_implementation"]
            model = kind(config)
        else:
            model, notes = _with_weights(kind, place, dict(options))
    if weights not in (None, "DEFAULT"):
        notes = [load_weights(model, weights, spec)]
    preprocessing, remark = _preprocessing(transformers, place, options)
    return LoadedModel(
        model.eval(),
        preprocessing,
        is_random and weights is None,
        spec,
        tuple(filter(None, [headless, *notes, remark])),
        getattr(config, "num_channels", None),
        size_said(config),
    )


def _package() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise BadInputError("transformers is not installed; `pip install 'backlight[hf]'`") from error
    return transformers


def _kind(transformers: Any, config: Any, spec: str) -> tuple[Any, str | None]:
    """Return the class of transformers that makes the model, and what is said where that leaves out a head.

    It is that of classifiers, where it was saved as one or as nothing; else that of backbones, or what all of its
    tasks have in common: a classifier of another model's weights would have a random head.
    """
    made_as = " ".join(getattr(config, "architectures", None) or ())
    auto = transformers.models.auto.modeling_auto
    classifies = type(config) in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    if classifies and "ForImageClassification" in made_as:
        return auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)], None
    if type(config) in auto.MODEL_FOR_BACKBONE_MAPPING:
        kind = auto.MODEL_FOR_BACKBONE_MAPPING[type(config)]
        return kind, _headless(made_as, kind)
    if classifies and made_as and type(config) in auto.MODEL_MAPPING:
        kind = auto.MODEL_MAPPING[type(config)]
        return kind, _headless(made_as, kind)
    if classifies:
        return auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)], None
    raise BadInputError(
        f"{spec} is a {made_as or config.model_type}, and of transformers image classifiers and backbones can be named",
        python="load it yourself and capture the part that sees the image",
        command="load it in a file of your own, and name that: file.py:callable",
    )


def _headless(made_as: str, kind: Any) -> str | None:
    if "For" not in made_as:
        return None
    return f"saved as {made_as}, which is no image classifier: loaded as {kind.__name__}, without its head"


def _with_weights(kind: Any, place: str, options: dict[str, Any]) -> tuple[nn.Module, list[str | None]]:
    del options["trust_remote_code"]  # a class of transformers itself: there is nothing to trust
    model, found = kind.from_pretrained(place, **options, output_loading_info=True)
    missing = sorted(found["missing_keys"])
    if not missing:
        return model, []
    few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return model, [f"{counted(len(missing), 'tensor')} not among its weights, and random: {few}"]


def _preprocessing(
    transformers: Any, place: str, options: dict[str, Any]
) -> tuple[Preprocessing | None, str | None]:
    """Return the preprocessing that lies beside a model, or why it is not used."""
    own = {key: options[key] for key in ("local_files_only", "trust_remote_code")}
    try:
        with _quiet(transformers):
            processor = transformers.AutoImageProcessor.from_pretrained(place, **own)
    # transformers raises many kinds where there is none, or where a package is missing.
    except Exception:
        return None, "no image processor lies beside the model; values in 0..1 are taken"
    try:
        return Preprocessing.from_hf(processor), None
    except BadInputError as error:
        return None, f"its image processor is not used, and values in 0..1 are taken: {error}"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from writing bars and reports between the lines of a command."""
    logging = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


@contextmanager
def _errors(spec: str, is_here: bool, download: bool) -> Iterator[None]:
    """Turn every error of transformers into one line."""
    try:
        yield
    except BadInputError:
        raise
    except Exception as error:
        reason = one_line(error)
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise BadInputError(
                f"{spec} needs code that comes with it, which is never run; load it in a file of your own, and name "
                "that: file.py:callable"
            ) from error
        if download:
            raise WeightsError(f"{spec} cannot be downloaded: {reason}") from error
        if is_here:
            raise BadInputError(f"{spec} cannot be loaded: {reason}") from error
        raise BadInputError(
            f"{spec} is neither a folder nor downloaded already",
            python="weights='DEFAULT' downloads it",
            command="--weights DEFAULT downloads it",
        ) from error
