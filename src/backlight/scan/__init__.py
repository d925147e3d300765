"""Scan: the mergeable top-k, statistics, and the pass over the images."""

from backlight.scan.compiling import Compile, should_compile
from backlight.scan.one_pass import LayerScan, Progress, Scan, Scanner, choose_layers, make_scanner, scan
from backlight.scan.statistics import HISTOGRAM_EDGES, N_BINS, MapStatistics
from backlight.scan.topk import TopHits

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
