"""A short run of the sets that are read from a store that lies; the long one is a script (`make fuzz`)."""

import pytest

pytest.importorskip("tenacity", reason="needs pip install 'backlight[remote]'")
pytest.importorskip("pyarrow", reason="needs pip install 'backlight[datasets]'")

from fuzz import stores


def test_no_image_is_taken_for_another_or_lost_without_a_reason():
    counts = stores.run(12, seed=1)
    assert counts.wrong == 0
    assert counts.opened + counts.refused == 12
    assert counts.right + counts.skipped == counts.opened * stores.N_IMAGES
    assert counts.right > 400
    assert counts.skipped > 3
