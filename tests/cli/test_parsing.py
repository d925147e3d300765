"""What the texts of flags stand for, and what they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from backlight.cli import parsing
from backlight.errors import BadInputError

numbers = partial(parsing.parse_numbers, "--mean")
percents = partial(parsing.parse_percents, "--shares")
amounts = partial(parsing.parse_amounts, "--scale")
whole = partial(parsing.parse_whole, "--class")

READ: list[tuple[Callable[[str], object], str, object]] = [
    (parsing.parse_seed_value, " activation", "activation"),
    (parsing.parse_seed_value, "-1.5", -1.5),
    (parsing.parse_size, "224", (224, 224)),
    (parsing.parse_size, "224X320", (224, 320)),
    (parsing.parse_range, "-1024,3071", (-1024.0, 3071.0)),
    (numbers, "0.48, 0.46,0.41", (0.48, 0.46, 0.41)),
    (parsing.parse_maps, "all", None),
    (parsing.parse_maps, "16", 16),
    (parsing.parse_maps, "3, 17,40", [3, 17, 40]),
    (parsing.parse_maps, "3,", [3]),
    (parsing.parse_channels, "3", [3]),
    (parsing.parse_channels, "3,17", [3, 17]),
    (parsing.parse_channels, "0-31", list(range(32))),
    (parsing.parse_channels, "3,5, 8-10", [3, 5, 8, 9, 10]),
    (parsing.parse_channels, "7-7", [7]),
    (parsing.parse_channels, "4-6,5,2", [4, 5, 6, 2]),
    (parsing.parse_maps, "3-5", [3, 4, 5]),
    (parsing.parse_layers, "all", None),
    (parsing.parse_layers, " features.3.cat,,head ", ["features.3.cat", "head"]),
    (parsing.parse_fill, "blur", "blur"),
    (parsing.parse_fills, "mean, noise", ("mean", "noise")),
    (percents, "5,12.5", (0.05, 0.125)),
    (amounts, "-60:60:60,7", (-60.0, 0.0, 60.0, 7.0)),
    (amounts, "1:0:-0.5", (1.0, 0.5, 0.0)),
    (amounts, "0:1:0.3", (0.0, 0.3, 0.6, 0.9)),
    (amounts, "2:2:1", (2.0,)),
    (amounts, "", ()),
    (whole, "4,0:2:1", (4, 0, 1, 2)),
]


@pytest.mark.parametrize(("parse", "text", "value"), READ, ids=[text for _, text, _ in READ])
def test_a_text_stands_for_its_value(parse: Callable[[str], object], text: str, value: object) -> None:
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


def test_a_list_that_is_not_given_is_none() -> None:
    assert parsing.parse_numbers("--mean", None) is None
    assert parsing.read_labels(None) == ()


STEPS = "--scale: the step must lead from the first to the last in less than 10000 steps"
REFUSED: list[tuple[Callable[[str], object], str, str]] = [
    (parsing.parse_seed_value, "high", "--seed-value is `activation` or a number such as 1, got 'high'"),
    (parsing.parse_seed_value, "nan", "--seed-value is `activation` or a number"),
    (parsing.parse_size, "224x224x3", "--size is one number or HxW, such as 224 or 224x320, got '224x224x3'"),
    (parsing.parse_size, "-5", "--size is one number or HxW"),
    (
        parsing.parse_range,
        "7,7",
        "--range is two numbers LOW,HIGH, the lower first, such as 0,4095, got '7,7'",
    ),
    (parsing.parse_range, "0,inf", "--range is two numbers LOW,HIGH"),
    (parsing.parse_range, "0,1,2", "--range is two numbers LOW,HIGH"),
    (numbers, "0.5,", "--mean is a list of numbers such as 0.48,0.46,0.41, got '0.5,'"),
    (parsing.parse_maps, "", "--maps is a number, a list such as 3,17,40 or 0-31, or all, got ''"),
    (parsing.parse_maps, "-3", "--maps is a number, a list"),
    (parsing.parse_channels, "3,x", "--channels is a list such as 3,17,40 or 0-31, got '3,x'"),
    (parsing.parse_channels, "8-3", "--channels is a list such as 3,17,40 or 0-31, got '8-3'"),
    (parsing.parse_channels, "1-2-3", "--channels is a list such as 3,17,40 or 0-31, got '1-2-3'"),
    (parsing.parse_channels, "3-", "--channels is a list such as 3,17,40 or 0-31, got '3-'"),
    (parsing.parse_channels, "0-999999999", "--channels is a list such as 3,17,40 or 0-31, got '0-9"),
    (parsing.parse_layers, " , ", "--layers is a list of layer names, or all, got ' , '"),
    (parsing.parse_fills, "mean,pink", "a fill is mean, blur, noise, got 'pink'"),
    (percents, "many", "--shares is a list of percentages such as 5,20, got 'many'"),
    (amounts, "1:2", "--scale is a list of numbers, such as -60,0,60, or first:last:step, got '1:2'"),
    (amounts, "inf", "--scale is a list of numbers"),
    (amounts, "1:2:0", STEPS),
    (amounts, "1:2:-1", STEPS),
    (amounts, "0:1:1e-9", STEPS),
    (whole, "1,2.5", "--class takes whole numbers, got '1,2.5'"),
]


@pytest.mark.parametrize(
    ("parse", "text", "said"), REFUSED, ids=[f"{text} {said}"[:40] for _, text, said in REFUSED]
)
def test_a_text_that_stands_for_nothing_is_refused_in_one_line(
    parse: Callable[[str], object], text: str, said: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_are_the_lines_of_a_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("bee\n ant \n\ncöw\n\n", "utf-8")
    assert parsing.read_labels(path) == ("bee", "ant", "", "cöw")  # blank lines at the end name no class
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(
        BadInputError, match=r"cannot read the labels '.*names.txt' \(it is not text\); give a text"
    ):
        parsing.read_labels(path)
    with pytest.raises(
        BadInputError, match=r"cannot read the labels '.*none.txt' \(No such file or directory\)"
    ):
        parsing.read_labels(tmp_path / "none.txt")
