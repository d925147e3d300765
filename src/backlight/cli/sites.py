"""What `serve` and `export` show beside an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backlight.studies.diagnosis import Diagnosis
    from backlight.studies.evolution import EvolutionResult


def opened_evolution(path: Path | None) -> EvolutionResult | None:
    """Return the evolution in a file; None for no file."""
    if path is None:
        return None
    from backlight.studies.evolution import open_evolution

    return open_evolution(path)


def opened_diagnosis(path: Path | None) -> Diagnosis | None:
    """Return the diagnosis that was saved under a name, with or without its ending; None for none."""
    if path is None:
        return None
    from backlight.studies.diagnosis import Diagnosis

    return Diagnosis.load(path.with_suffix("") if path.suffix in (".json", ".npz") else path)
