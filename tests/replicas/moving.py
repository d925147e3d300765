"""Replicas of operators that only move entries: each signal returns to the place that its entry came from."""

import numpy as np


def moves(function):
    """Return the replica of an operator that moves, copies or leaves out entries.

    Args:
        function: NumPy's counterpart. It gets the places of an array, numbered in raster order; -1 stands for a
            place that no entry came from.
    """

    def replica(x, signal):
        places = function(np.arange(x.size).reshape(x.shape))
        assert places.shape == signal.shape
        below = np.zeros(x.size + 1)  # what has place -1 falls into the last cell
        np.add.at(below, places.ravel(), signal.ravel())
        return below[:-1].reshape(x.shape)

    return replica
