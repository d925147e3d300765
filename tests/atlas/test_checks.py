"""Checks of what a file holds, before anything is made of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from backlight.atlas import checks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": []}, r"shape must be \(c, h, w\) or \(c,\)"),
        ({"shape": [1, 12, 12]}, "projected channels must be a whole number from 0 to 0, got 1"),
        ({"rectified": 1}, "rectified must be true or false, got 1"),
        ({"receptive_field": {"rows": [3, "1e1000000000", 0]}}, "must be a fraction, got '1e1000000000'"),
        ({"receptive_field": {"rows": [10**9, "1", 0]}}, "size of a receptive field must be a whole number"),
    ],
)
def test_a_description_that_no_build_writes_is_refused(change: dict[str, object], message: str) -> None:
    field = {"rows": [3, "1", -1], "cols": [3, "1/2", -1], "gates_ignored": False}
    sound = {"operator": "relu", "shape": [2, 12, 12], "rectified": True, "receptive_field": field}
    assert json.loads(checks.description(json.dumps(sound), [0, 1]).to_json()) == sound
    changed = sound | change
    if "receptive_field" in change:
        changed["receptive_field"] = field | change["receptive_field"]  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        checks.description(json.dumps(changed), [0, 1])


@pytest.mark.parametrize(
    "sources", [["later"], ["", ""], ["relu1", "relu1"], "relu1", [1], {"relu1": 1}, [["relu1"]]]
)
def test_sources_that_are_no_earlier_layers_are_refused(sources: object) -> None:
    sound = {"operator": "relu", "shape": [2], "rectified": True, "receptive_field": None}
    for own in ([], [""], ["relu1"], ["", "relu1"]):
        found = checks.description(json.dumps(sound | {"sources": own}), [0], {"relu1"})
        assert found.sources == tuple(own)
    with pytest.raises(ValueError, match=r"sources? must be"):
        checks.description(json.dumps(sound | {"sources": sources}), [0], {"relu1"})


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_filters_come_back_in_either_order_and_never_larger_than_their_bytes() -> None:
    filters = np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3)
    for array in (filters, np.asfortranarray(filters)):
        np.testing.assert_array_equal(checks.npy(npy(array)), filters)
    huge = npy(filters).replace(b"(2, 3, 3, 3)", b"(9999,9,3,3)")
    for data in (huge, npy(filters)[:-1], npy(filters.astype(np.float64)), npy(filters[0])):
        with pytest.raises(ValueError, match="filters must be float32"):
            checks.npy(data)
    with pytest.raises(ValueError, match="filters must be float32"):
        checks.npy(npy(np.array([{}], object), allow_pickle=True))


def test_a_result_that_unpacks_to_too_much_or_to_objects_is_refused() -> None:
    def packed(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("json.npy", data)
        return buffer.getvalue()

    sound = packed(npy(np.zeros(1000)))
    assert checks.npz(sound) == sound
    with pytest.raises(ValueError, match="larger than its data, or a pickle"):
        checks.npz(packed(npy(np.array([{}], object), allow_pickle=True)))

    def claiming(n_bytes: int) -> bytes:
        """Return the file with another size for its array, which stands 24 bytes into the entry of its directory."""
        at = sound.index(b"PK\x01\x02") + 24
        return sound[:at] + n_bytes.to_bytes(4, "little") + sound[at + 4 :]

    assert checks.npz(claiming(2**28))
    with pytest.raises(ValueError, match=f"at most {2**28} bytes unpacked"):
        checks.npz(claiming(2**28 + 1))


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checks.whole, 0),
        (checks.whole, 2**53),
        (checks.real, -1.5),
        (checks.words, "a\nb"),
        (checks.name, "features.0"),
        (checks.flag, False),
        (checks.table, {"a": 1}),
    ],
)
def test_what_is_as_it_should_be_is_returned(check: Callable[..., object], value: object) -> None:
    found = check(value, "it")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (checks.whole, True, "it must be a whole number from 0 to 9007199254740992, got True"),
        (checks.whole, 1.0, r"got 1\.0"),
        (checks.whole, -1, "got -1"),
        (checks.whole, 2**53 + 1, "got 9007199254740993"),
        (checks.real, float("nan"), "it must be a finite number, got nan"),
        (checks.real, True, "it must be a finite number, got True"),
        (checks.real, "1", "it must be a finite number, got '1'"),
        (checks.words, b"bytes", "it must be a text of at most 1000 characters, got b'bytes'"),
        (checks.words, "x" * 1001, "got str of length 1001"),
        (checks.name, "a\nb", r"it must be printable, got 'a\\nb'"),
        (checks.flag, 0, "it must be true or false, got 0"),
        (checks.table, [], r"it must be a JSON object, got \[\]"),
        (checks.wholes, (1, 2), r"it must be a list, got \(1, 2\)"),
        (checks.wholes, [0, -1], "it must be a whole number from 0"),
        (checks.wholes, [[0] * 100], "got list of 100"),
    ],
)
def test_what_is_not_is_refused_with_what_it_is(
    check: Callable[..., object], value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check(value, "it")


def test_numbers_are_refused_outside_their_bounds_only() -> None:
    assert checks.wholes([2, 3], "it", 2, 3) == (2, 3)
    assert checks.real(0.0, "it", 0.0) == 0.0
    for refused in (lambda: checks.whole(4, "it", 2, 3), lambda: checks.real(-0.1, "it", 0.0)):
        with pytest.raises(ValueError, match=r"it must be a .* number from"):
            refused()


def test_one_of_some_texts_and_nothing_at_all() -> None:
    assert checks.one_of("scan", "phase", ("scan", "done")) == "scan"
    with pytest.raises(ValueError, match="phase must be one of scan, done, got 'data'"):
        checks.one_of("data", "phase", ("scan", "done"))
    checks.nothing((None, None), "place")
    with pytest.raises(ValueError, match=r"place must be missing, got \(None, 0\)"):
        checks.nothing((None, 0), "place")


def test_an_origin_holds_texts_or_nothing() -> None:
    found = {"model": "alexnet", "weights": None}
    assert checks.origin(json.dumps(found)) == found
    with pytest.raises(ValueError, match="model must be a text"):
        checks.origin('{"model": 3}')


def test_a_histogram_has_its_bins_and_counts() -> None:
    counts = np.array([3, 0, 2], "<i8")
    np.testing.assert_array_equal(checks.histogram(counts.tobytes(), 3), counts)
    with pytest.raises(ValueError, match="a histogram has 3 bins of 8 bytes, got 16 bytes"):
        checks.histogram(counts[:2].tobytes(), 3)
    with pytest.raises(ValueError, match="a histogram counts images, got a negative number"):
        checks.histogram((-counts).tobytes(), 3)


def test_names_of_classes_are_a_list_of_printable_texts() -> None:
    assert checks.classes('["cat", ""]') == ("cat", "")
    for wrong in ('{"0": "cat"}', "[1]", '["a' + chr(92) + 'u0007"]', '["' + "a" * 10**6 + '"]'):
        with pytest.raises(ValueError, match="class"):
            checks.classes(wrong)
