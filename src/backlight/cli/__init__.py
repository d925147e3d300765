"""The command line: one file per command, each from flags to one library call to output."""

from backlight.cli.app import main

__all__ = ["main"]
