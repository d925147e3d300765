"""Progress: how long-running work reports how far it has got."""

from __future__ import annotations

from backlight.progress.asking import Progress, Watching, as_progress, shows_progress, silent

__all__ = ["Progress", "Watching", "as_progress", "shows_progress", "silent"]
