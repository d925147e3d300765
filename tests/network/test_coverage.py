"""Coverage: each operator of a network, its class and where it stands."""

from __future__ import annotations

from backlight import capture
from backlight.network import Coverage, CoverageEntry, OperatorClass
from backlight.network.coverage import LeftOut
from small_zoo import SMALL_ZOO


def test_coverage_names_each_operator_its_class_and_where() -> None:
    entries = {e.operator: e for e in capture(SMALL_ZOO["efficientnet"](), (3, 64, 64)).coverage().entries}
    assert entries["silu"].kind is OperatorClass.RECTIFIER
    assert entries["mul"].kind is OperatorClass.GATE
    assert entries["conv2d"].kind is OperatorClass.LINEAR
    assert "sigmoid" not in entries  # the gate's factor is held fixed
    assert entries["conv2d"].places[0] == "features.0.0"


ENTRIES = (
    CoverageEntry("conv2d", OperatorClass.LINEAR, ("stem", "block.0")),
    CoverageEntry("sort", OperatorClass.UNKNOWN, ("block.sort",)),
)


def test_what_no_rule_covers_is_unsupported() -> None:
    assert Coverage(ENTRIES).unsupported == ENTRIES[1:]
    assert Coverage(ENTRIES[:1]).unsupported == ()


def test_a_table_has_a_line_for_each_operator_with_its_count_and_first_place() -> None:
    lines = [line.split() for line in str(Coverage(ENTRIES)).splitlines()]
    assert lines == [["linear", "conv2d", "2", "stem"], ["unknown", "sort", "1", "block.sort"]]


def test_what_is_left_out_is_said_once_for_each_kind_at_its_first_place() -> None:
    tokens = [LeftOut(name, "linear", ("n", 196, 768), "tokens") for name in ("a", "b", "c")]
    volume = LeftOut("v", "conv3d", ("n", 4, 3, 8, 8), "3-D volumes")
    assert Coverage(ENTRIES, (tokens[0], volume, *tokens[1:])).left_out_in_words() == [
        "a (linear): its output is tokens (n, 196, 768), not feature maps, and 2 more of this kind behind it",
        "v (conv3d): its output is 3-D volumes (n, 4, 3, 8, 8), not feature maps",
    ]
    assert Coverage(ENTRIES).left_out_in_words() == []
