"""The kinds of findings: what they are called, what is measured, and what to try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        title: What it is called in a report.
        measure: What its value is.
        to_try: What to try, in plain words.
        weight: How much it matters beside the others, 0 to 1; only the order of a report depends on it.
        of_layer: Whether it concerns a whole layer rather than single feature maps.
    """

    title: str
    measure: str
    to_try: str
    weight: float
    of_layer: bool = False


KINDS: dict[str, Kind] = {
    "dead": Kind(
        "dead map",
        "share of images in which the map is above zero",
        "remove the map: its output is constant; for the next training a lower learning rate or another "
        "initialisation",
        1.0,
    ),
    "sleeping": Kind(
        "sleeping map",
        "share of images in which the map is above zero",
        "look at the few images that wake it; if they are not what the network is for, remove the map",
        0.4,
    ),
    "always_on": Kind(
        "always-on map",
        "share of images in which every unit of the map is above zero",
        "the rectifier never cuts this map: fold it into the next layer, or train with a smaller bias",
        0.3,
    ),
    "duplicate": Kind(
        "near-duplicate maps",
        "correlation of the two maps' activations",
        "keep one of them and add the other's weights in the next layer to its own",
        0.8,
    ),
    "loud": Kind(
        "filter whose RMS stands out",
        "RMS of the filter over the layer's median",
        "renormalise filters while training (`backlight.renormalise_filters_`), or a smaller learning rate in "
        "this layer",
        0.9,
    ),
    "frequencies": Kind(
        "missing frequencies",
        "share of the filters' energy in the band, over that of shuffled filters",
        "smaller filters or a smaller stride in the first layer, and filters renormalised while training",
        0.6,
        of_layer=True,
    ),
    "aliased": Kind(
        "aliasing",
        "share of the energy that the stride folds",
        "a smaller stride, or a low-pass filter before it",
        0.8,
        of_layer=True,
    ),
    "checkerboard": Kind(
        "checkerboard in the projections",
        "energy at the stride's frequency over that of its neighbours",
        "kernels whose size is a multiple of the stride, or a low-pass filter before the stride",
        0.4,
        of_layer=True,
    ),
    "border": Kind(
        "border detector",
        "share of the map's strongest positions that lie at the border",
        "pad with the edge or mirrored (`padding_mode='replicate'` or `'reflect'`) instead of zeros",
        0.7,
    ),
    "uneven": Kind(
        "uneven padding",
        "pixels that the layer reaches further over one edge than over the other",
        "pad both sides alike, and use an input size at which the last stride ends at the edge",
        0.3,
        of_layer=True,
    ),
    "field": Kind(
        "receptive field that does not fit",
        "share of the image that a unit sees",
        "remove layers that add nothing within the image, or use larger images",
        0.2,
        of_layer=True,
    ),
    "causes": Kind(
        "map that several causes share",
        "share of the hits' variance that two clusters explain",
        "read its pictures as two sets; more maps in this layer give each cause its own",
        0.3,
    ),
}
"""The kinds by name, which are those that `--fail-on` takes."""
