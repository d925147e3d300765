"""Lanes: diagrams drawn by hand, and what holds for any of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backlight.web.contexts import Lanes
from backlight.web.lanes import MOST, folded, lanes, passing, width


def drawn(row: Lanes) -> str:
    """Return a row as text: the layer's lane, then each wire as start, part and end."""
    signs = {"into": ">", "past": "-", "out": "<"}
    wires = " ".join(f"{wire.start}{signs[wire.part]}{wire.end}" for wire in row.wires)
    return f"{'' if row.lane is None else row.lane}: {wires}"


def diagram(graph: dict[str, tuple[str, ...]]) -> list[str]:
    return [drawn(row) for row in lanes(list(graph), list(graph.values()))]


def test_a_chain_is_a_straight_line_with_two_ends() -> None:
    assert diagram({"a": ("",), "b": ("a",)}) == ["0: 0<0", "0: 0>0 0<0", "0: 0>0"]


def test_an_atlas_that_knows_no_sources_is_a_straight_line() -> None:
    names = ["a", "b", "c"]
    assert lanes(names, [None] * 3) == lanes(names, [("",), ("a",), ("b",)])
    assert lanes([], []) == (Lanes(0, ()),)


FIRE = {"squeeze": ("",), "1x1": ("squeeze",), "3x3": ("squeeze",), "cat": ("1x1", "3x3"), "next": ("cat",)}


def test_a_fire_module_branches_and_merges() -> None:
    assert diagram(FIRE) == [
        "0: 0<0",
        "0: 0>0 0<0",  # squeeze
        "0: 0>0 0-1 0<0",  # expand1x1 takes squeeze's lane; squeeze goes on beside it
        "1: 1>1 0-0 1<1",  # expand3x3
        "0: 0>0 1>0 0<0",  # cat
        "0: 0>0",
    ]


BLOCK = {"stem": ("",), "relu": ("stem",), "relu_1": ("stem", "relu"), "next": ("relu_1",)}


def test_a_skip_runs_past_what_it_skips() -> None:
    assert diagram(BLOCK) == ["0: 0<0", "0: 0>0 0<0", "0: 0>0 0-1 0<0", "0: 0>0 1>0 0<0", "0: 0>0"]


def test_branches_of_unequal_length_keep_their_lanes() -> None:
    graph = {"in": ("",), "a": ("in",), "b": ("a",), "c": ("b",), "d": ("in",), "sum": ("c", "d")}
    assert diagram(graph) == [
        "0: 0<0",
        "0: 0>0 0<0",
        "0: 0>0 0-1 0<0",  # a; in goes on for d
        "0: 0>0 1-1 0<0",
        "0: 0>0 1-1 0<0",
        "1: 1>1 0-0 1<1",  # d
        "0: 0>0 1>0",
    ]


def test_a_lane_that_is_free_is_taken_again_but_never_one_that_ends_in_the_same_row() -> None:
    graph = {**BLOCK, "relu_2": ("next",), "relu_3": ("next", "relu_2")}
    assert width(lanes(list(graph), list(graph.values()))) == 2
    # b reads both lanes, and a is read again: its new lane is not that of what has just ended
    assert diagram({"a": ("",), "b": ("a", ""), "c": ("a", "b")})[2:] == ["0: 0>0 1>0 0-2 0<0", "0: 0>0 2>0"]


def test_a_layer_that_reads_nothing_begins_a_lane() -> None:
    assert diagram({"a": (), "b": ("", "a")}) == ["0: 0<0", "1: 0-0 1<1", "0: 0>0 1>0"]


def test_what_is_folded_is_one_row_of_the_same_ends() -> None:
    rows = lanes(list(FIRE), list(FIRE.values()))
    assert drawn(folded(rows[1:5])) == "0: 0>0 0<0"
    assert drawn(folded(rows[2:4])) == "0: 0>0 0<0 0<1"
    assert drawn(passing(rows[4])) == ": 0-0 1-1"
    skips = {"a": ("",), "b": ("a",), "c": ("b",), "sum": ("a", "c")}
    rows = lanes(list(skips), list(skips.values()))
    assert drawn(folded(rows[2:4])) == "0: 0>0 0-1 0<0"  # b and c: what a gives goes in, and on beside them
    assert drawn(folded(rows[3:4])) == drawn(rows[3])


def test_a_dense_network_has_no_more_lanes_than_can_be_told_apart() -> None:
    names = [f"l{i}" for i in range(20)]
    assert width(lanes(names, [("", *names[:i]) for i in range(20)])) == MOST


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = [f"l{i}" for i in range(draw(st.integers(0, 9)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(["", *names[:i]]), unique=True, max_size=4)))
        for i, name in enumerate(names)
    }


@given(graphs(), st.data())
def test_wires_carry_each_layer_to_all_that_read_it(
    graph: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    rows = lanes(list(graph), list(graph.values()))
    carried: dict[int, str] = {}
    for name, row in zip(["", *graph], rows, strict=True):
        assert {carried[wire.start] for wire in row.wires if wire.part == "into"} == set(graph.get(name, ()))
        after = [(wire.end, carried[wire.start]) for wire in row.wires if wire.part == "past"]
        after += [(wire.end, name) for wire in row.wires if wire.part == "out"]
        carried = dict(after)
        assert len(carried) == len(after)  # one lane, one wire
        assert row.lane not in {wire.end for wire in row.wires if wire.part == "past"}
    assert carried == {}
    first = data.draw(st.integers(0, len(rows) - 1))
    stop = data.draw(st.integers(first + 1, len(rows)))
    own = folded(rows[first:stop])
    assert {wire.start for wire in own.wires if wire.part != "out"} == {
        wire.start for wire in passing(rows[first]).wires
    }
    assert {wire.end for wire in own.wires if wire.part != "into"} == {
        wire.end for wire in rows[stop - 1].wires if wire.part != "into"
    }
