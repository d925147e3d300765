"""Results: the page reads every field of them, and each says what it is."""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib.resources import files

import pytest

from backlight.web.probe import results
from backlight.web.probe.jobs import JobState

SCRIPT = (files("backlight.web") / "static" / "probe.js").read_text("utf-8")
RECORDS = [
    JobState,
    *(own for _, own in inspect.getmembers(results, dataclasses.is_dataclass)),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda own: own.__name__)
def test_every_field_is_described_and_read(record: type) -> None:
    names = [field.name for field in dataclasses.fields(record)]
    assert re.findall(r"^    (\w+):", inspect.getdoc(record) or "", re.M) == names
    # what a page does not show yet, programs may want
    unread = {name for name in names if not re.search(rf"\.{name}\b", SCRIPT)}
    assert unread <= ({"size", "phase"} if record is JobState else set()), record
