"""Scan: the mergeable top-k, statistics, and the pass over the images. What needs torch is imported when it is used."""

from typing import TYPE_CHECKING

from backlight.lazy import exports
from backlight.progress import Progress
from backlight.scan.statistics import HISTOGRAM_EDGES, N_BINS, MapStatistics
from backlight.scan.topk import TopHits

if TYPE_CHECKING:
    from backlight.scan.compiling import Compile, should_compile
    from backlight.scan.one_pass import choose_layers, scan
    from backlight.scan.scanner import Scanner, make_scanner
    from backlight.scan.state import LayerScan, Scan

__all__ = [
    "HISTOGRAM_EDGES",
    "N_BINS",
    "Compile",
    "LayerScan",
    "MapStatistics",
    "Progress",
    "Scan",
    "Scanner",
    "TopHits",
    "choose_layers",
    "make_scanner",
    "scan",
    "should_compile",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "backlight.scan.compiling": ("Compile", "should_compile"),
        "backlight.scan.one_pass": ("choose_layers", "scan"),
        "backlight.scan.scanner": ("Scanner", "make_scanner"),
        "backlight.scan.state": ("LayerScan", "Scan"),
    },
)
