"""Names of classes: read from a file, and given to the labels of a set of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, final

from backlight.errors import BacklightWarning, BadInputError, tell
from backlight.images.deep import Picture
from backlight.images.sources import ImageRecord, ImageSource
from backlight.text import shortened

IMAGENET = "imagenet"
CLASSES_FILE = "classes.txt"
MOST_BYTES = 2**20
"""Size of a file of names, at most."""
_LONGEST = 200


ClassNames: TypeAlias = str | Path | Sequence[str] | Mapping[Any, str]
"""Names of classes: in their order, by label, `imagenet` for torchvision's 1000, or a file of one of the first two."""


def class_names(given: ClassNames | None) -> dict[str, str]:
    """Return the name of each label; by its number where names come as a list.

    Args:
        given: The names in the order of the classes; a mapping from labels or numbers to names; `imagenet` for
            torchvision's 1000; or a file: a name on each line, or JSON of one of the two.

    Raises:
        BadInputError: A file that cannot be read, or no names.

    Example:
        >>> class_names(["cat", "dog"]), class_names({7: "owl"}), class_names(None)
        ({'0': 'cat', '1': 'dog'}, {'7': 'owl'}, {})
    """
    if given is None:
        return {}
    known: Any = given
    if isinstance(given, str | Path):
        is_imagenet = str(given) == IMAGENET and not Path(given).exists()
        known = _imagenet() if is_imagenet else _read(Path(given))
    pairs = known.items() if isinstance(known, Mapping) else enumerate(known)
    found = {str(label): name for label, name in pairs}
    if not found or not all(isinstance(name, str) for name in found.values()):
        raise BadInputError(
            "names of classes are a list of texts, or a mapping from labels to texts; got others"
        )
    wrong = next((name for name in found.values() if len(name) > _LONGEST or not name.isprintable()), None)
    if wrong is not None:
        raise BadInputError(
            f"the name of a class has at most {_LONGEST} printable characters, got {shortened(repr(wrong), 80)}"
        )
    return found


def in_order(names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, 2 and so on; none where the labels are not these numbers.

    Example:
        >>> in_order({"1": "dog", "0": "cat"}), in_order({"n01440764": "tench"})
        (('cat', 'dog'), ())
    """
    numbers = [str(i) for i in range(len(names))]
    return tuple(names[i] for i in numbers) if set(numbers) == set(names) else ()


def lines_of(data: bytes) -> tuple[str, ...]:
    """Return the names in a text file, one on each line; blank lines at its end name nothing.

    Raises:
        UnicodeDecodeError: It is not text.
    """
    return tuple(line.strip() for line in data.decode("utf-8-sig").rstrip().splitlines())


def named(label: str | None, names: Mapping[str, str]) -> str | None:
    """Return the name of a label; itself where it has none, or an empty one."""
    return label if label is None else names.get(label) or label


@final
class NamedSource:
    """A set of images whose labels are given names: numbers and codes become words.

    Example:
        >>> import numpy as np
        >>> from backlight.images import open_images
        >>> NamedSource(open_images([(np.zeros((2, 2)), 1)]), {"1": "owl"}).records[0].label
        'owl'
    """

    def __init__(self, source: ImageSource, names: Mapping[str, str]) -> None:
        """Name the labels of a source that are among the names; the others stay.

        Args:
            source: The images.
            names: The name of each label.
        """
        self.source, self.name = source, source.name
        self.class_names: tuple[str, ...] = in_order(names)
        self.records: Sequence[ImageRecord] = tuple(
            replace(record, label=named(record.label, names)) for record in source.records
        )
        _tell_if_none_is_named(source, names)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        return self.source.load(image_id)

    def fingerprint(self) -> str:
        """Return the fingerprint of the images, which no name changes."""
        return self.source.fingerprint()


def _tell_if_none_is_named(source: ImageSource, names: Mapping[str, str]) -> None:
    """Warn where images have labels, and all of them are neither among the names' keys nor names already."""
    labels = {record.label for record in source.records if record.label is not None}
    if labels and labels.isdisjoint({*names, *names.values()}):
        tell(
            BacklightWarning(
                f"no label of {shortened(source.name, 80)!r} was renamed: they are {_few(sorted(labels))}, and names "
                f"are given for {_few(list(names))}; name them in JSON, {{label: name}}"
            )
        )


def _few(texts: Sequence[str]) -> str:
    shown = ", ".join(repr(shortened(text, 40)) for text in texts[:3])
    return shown if len(texts) < 4 else f"{shown}, ..."


def _read(path: Path) -> Any:
    advice = "give a text file with one name per line, or JSON"
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise BadInputError(f"the labels {str(path)!r} are longer than {MOST_BYTES} bytes; {advice}")
        if path.suffix.lower() != ".json":
            return lines_of(data)
        found = json.loads(data)
    except OSError as error:
        if "," in str(path):
            raise BadInputError(
                f"labels are a file of names, and there is none called {str(path)!r}",
                python=f"give a list of names: {[name.strip() for name in str(path).split(',')][:3]}",
                command="write the names into a text file, one on each line, and give that",
            ) from error
        raise BadInputError(f"cannot read the labels {str(path)!r} ({error.strerror}); {advice}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"cannot read the labels {str(path)!r} (it is not text); {advice}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInputError(f"cannot read the labels {str(path)!r} (damaged JSON); {advice}") from error
    if not isinstance(found, list | dict):
        raise BadInputError(f"the labels {str(path)!r} are JSON, but neither a list nor an object; {advice}")
    return found


def _imagenet() -> Any:
    from torchvision.models import ResNet18_Weights

    return ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
