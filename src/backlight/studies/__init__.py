"""Studies: is what a picture shows what the unit sees? Each is a package with Config, run and a Result."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backlight.studies import correspondence as correspondence
    from backlight.studies import faithfulness as faithfulness
    from backlight.studies import homogeneity as homogeneity
    from backlight.studies import invariance as invariance
    from backlight.studies import occlusion as occlusion
    from backlight.studies import sanity as sanity

_ON_FIRST_USE = ("correspondence", "faithfulness", "homogeneity", "invariance", "occlusion", "sanity")


def __getattr__(name: str) -> ModuleType:
    """Import a study when it is first used."""
    if name in _ON_FIRST_USE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
