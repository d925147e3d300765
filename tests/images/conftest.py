import warnings

import pytest


@pytest.fixture
def no_warning():
    """Fail the test if anything goes through `warnings`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(w.message) for w in caught] == []


@pytest.fixture
def store(monkeypatch):
    """Return a store that misbehaves as it is told, `lying://`, empty; nobody waits between two attempts."""
    pytest.importorskip("tenacity", reason="needs pip install 'backlight[remote]'")
    import fsspec

    import images.lying
    from backlight.images import stores

    monkeypatch.setattr(stores, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(stores, "LONGEST_WAIT_S", 0.0)
    fs = fsspec.filesystem(images.lying.LyingFileSystem.protocol)
    fs.start_over()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
