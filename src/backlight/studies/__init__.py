"""Studies: is what a picture shows what the unit sees?

Each study is a package of three parts: `result` (its frozen configuration and result, such as `SanityConfig` and
`Sanity`), `run` (the function of that name, which computes the result) and `plot` (which draws it; see
`backlight.studies.results.Result`). No study imports another; what two of them need lies beside them.

All runs take their arguments in one order, those that a study does not need left out:
`run(atlas, net, images, layers, config, *, ..., progress)`. First comes what is studied, then the layers, then the
configuration, and by name only what a single study takes (`classes`, `others`) and `progress`, which is called with
the study's name, how much is done and how much there is in all.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backlight.studies import correspondence as correspondence
    from backlight.studies import diagnosis as diagnosis
    from backlight.studies import evolution as evolution
    from backlight.studies import faithfulness as faithfulness
    from backlight.studies import foretelling as foretelling
    from backlight.studies import homogeneity as homogeneity
    from backlight.studies import invariance as invariance
    from backlight.studies import occlusion as occlusion
    from backlight.studies import sanity as sanity

_ON_FIRST_USE = (
    "correspondence",
    "diagnosis",
    "evolution",
    "faithfulness",
    "foretelling",
    "homogeneity",
    "invariance",
    "occlusion",
    "sanity",
)


def __getattr__(name: str) -> ModuleType:
    """Import a study when it is first used."""
    if name in _ON_FIRST_USE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
