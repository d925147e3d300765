"""Pickles in weights files: tensors are rebuilt and nothing else is run."""

from __future__ import annotations

import io
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from backlight.models import inert, load_weights
from models.weights import STATE, Runs, Settings, holds, small


class RunsPython:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('ran', 'w')",)


@pytest.mark.parametrize("options", [{"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}])
def test_what_is_pickled_beside_the_weights_is_not_run(here: Path, options: dict[str, Any]) -> None:
    torch.save(
        {"a": Runs(), "b": RunsPython(), "model": STATE, "c": Settings(), "d": {Settings: [Runs()]}},
        "w.pt",
        **options,
    )
    model = small()
    load_weights(model, "w.pt", "mine.py:make")
    assert holds(model)
    assert not Path("ran").exists()


def test_a_file_that_announces_billions_of_objects_takes_no_room_for_them() -> None:
    announced = b"\x80\x02cargparse\nNamespace\nr\xff\xff\xff\x7f."  # kept as object 2**31 - 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert inert.load(io.BytesIO(announced)).kind == "argparse.Namespace"
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20
    )  # KiB: the pointers alone are 16 GiB
