"""Probe: an image of one's own in the network of an atlas, from the browser: served only, never exported."""
