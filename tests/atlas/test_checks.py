"""Checks of what a file holds, before anything is made of it."""

from __future__ import annotations

import io
import json
import zipfile

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
