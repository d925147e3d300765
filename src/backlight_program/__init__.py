"""What the command `backlight` starts: Ctrl-C ends it in one line even while its libraries are still being loaded.

It stands beside the package, so that Ctrl-C is caught before anything of it is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

_STOPPED = 130


def main() -> None:
    """Run the command line and exit: 0 done, 2 bad input, 1 failed work, 130 stopped by Ctrl-C."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # started in the background or by nohup
    if not is_ignored:
        signal.signal(signal.SIGINT, stop)
    from backlight.cli import main as run

    try:
        if not is_ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # commands keep what they have done
        run()
    except KeyboardInterrupt:
        stop()
    finally:
        if not is_ignored:  # nothing is left to be lost while Python ends
            signal.signal(signal.SIGINT, stop)
        sys.stdout.flush()


def stop(*_: Any) -> NoReturn:
    """End the process at once: a KeyboardInterrupt would end in a traceback of whatever is being imported."""
    os.write(2, b"stopped\n")
    os._exit(_STOPPED)
