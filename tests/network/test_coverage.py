"""Coverage: each operator of a network, its class and where it stands."""

from __future__ import annotations

from backlight import capture
from backlight.network import OperatorClass
from small_zoo import SMALL_ZOO


def test_coverage_names_each_operator_its_class_and_where() -> None:
    entries = {e.operator: e for e in capture(SMALL_ZOO["efficientnet"](), (3, 64, 64)).coverage().entries}
    assert entries["silu"].kind is OperatorClass.RECTIFIER
    assert entries["mul"].kind is OperatorClass.GATE
    assert entries["conv2d"].kind is OperatorClass.LINEAR
    assert "sigmoid" not in entries  # the gate's factor is held fixed
    assert entries["conv2d"].places[0] == "features.0.0"
