import warnings

import jaxtyping
import pytest


@pytest.fixture
def untyped():
    """Turn the type checker off, for tests that pass what the annotations forbid: it would refuse first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def no_warning():
    """Fail the test if anything goes through `warnings`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(w.message) for w in caught] == []
