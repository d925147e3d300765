"""PyTorch's tracers say nothing to the user while they run, and whatever was shown before is shown again."""

from __future__ import annotations

import logging
import warnings

import pytest

from backlight.network.quiet import quiet_torch


def test_log_messages_and_warnings_are_hidden_inside_and_shown_again_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("torch.export")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_torch():
            logger.error("inside")
            warnings.warn("inside", stacklevel=1)
        logger.error("after")
        warnings.warn("after", stacklevel=1)
    assert [record.message for record in caplog.records] == ["after"]
    assert [str(own.message) for own in shown] == ["after"]


def test_an_error_inside_ends_the_silence_and_the_users_own_level_stays() -> None:
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with pytest.raises(KeyError, match="inside"), quiet_torch():
            raise KeyError("inside")
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(before)
