"""The plan of a build: everything that will be done, known before any of it is done, and nothing that does it.

Engines carry a plan out (`backlight.engines.local`), a shard of the images or a group of hits at a time
(`backlight.engines.work`). The atlas keeps the plan's identity and settings, so that a resumed build does the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from backlight.engines.identity import (
    LONGEST_NAME,
    MOST_HITS,
    AtlasIdentity,
    ImageSetIdentity,
    ModelIdentity,
    RulesIdentity,
    Selection,
    check_pixels,
)
from backlight.errors import BadInputError
from backlight.images import (
    ClassNames,
    ImageSource,
    Items,
    NamedSource,
    OneImage,
    Preprocessing,
    class_names,
    open_images,
)
from backlight.network import Layer, Network
from backlight.network.layers import Layers
from backlight.operators.ruleset import DECONVNET, RuleSet, as_rules
from backlight.projection import check_channel, check_rules
from backlight.projection.reach import under_rules
from backlight.scan import Compile, choose_layers, should_compile
from backlight.scan.certain import SPARE

SCAN_STEP_IMAGES = 256
"""A scan is kept after so many images at most, rounded up to whole batches: what a killed build loses at most."""

SCAN_STEPS = 16
"""A scan of few images is kept in so many steps, of whole batches: one that is stopped often gets on all the same."""

_BYTES_OF_NONE = 229_376  # a file with empty tables
_BYTES_PER_PIXEL, _BYTES_PER_HIT, _BYTES_PER_MAP = 1.0, 700, 1300
_BYTES_PER_WHOLE_PIXEL, _BYTES_PER_POSITION = 0.3, 0.6
_BINS_OF_A_MAP = 17

MapsOfLayer = int | Sequence[int] | Literal["all"] | None
Maps = MapsOfLayer | Mapping[str, MapsOfLayer]
"""Which feature maps of a layer: a random sample of so many, their channels, or None for all."""


@dataclass(frozen=True)
class Settings:
    """How a build computes. It can decide the last bit of a value, so an atlas keeps it for a resumed build.

    Attributes:
        batch_size: Images that are read together, and projected in one forward pass at most.
        threads: torch's number of threads: how sums are split among them.
        compiled: Whether the network is compiled for the scan.
        falls_back: Whether a network that cannot be compiled is scanned as it is.
        shard_images: Images of a shard, rounded up to whole batches; None for a
            sixteenth of the set and at most 256 (`SCAN_STEPS`, `SCAN_STEP_IMAGES`). It decides nothing: an atlas does
            not keep it.
    """

    batch_size: int
    threads: int
    compiled: bool
    falls_back: bool = True
    shard_images: int | None = None


@dataclass(frozen=True)
class Shard:
    """Some images of the set, by id: those from start to stop - 1.

    *Convention*: it has whole batches, unless it is the last of the set, so that batches do not depend on shards.
    """

    start: int
    stop: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that decides what an atlas will hold, and what it is made from.

    Made by `plan_build`; `print` it to see what a build would do.

    Attributes:
        net: The captured network.
        images: The image set.
        layers: The layers, in the order of the graph, each with the field that its rules' projections stay in.
        channels: For each layer, the feature maps that are projected, ascending.
        top: Hits of a feature map.
        rules: For each layer, the rule set of its projections.
        by_layer: Whether the rules were chosen layer by layer.
        settings: How it is computed.
        bands: Whether the examples of the histograms' bands are projected too.
        wholes: Whether the images of hits are kept whole, with the activations of the hits' maps.
        subject: What is known of the network and the images, where it has been read already (`known`).
    """

    net: Network
    images: ImageSource = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    channels: tuple[tuple[int, ...], ...] = field(repr=False)
    top: int
    rules: tuple[RuleSet, ...] = field(repr=False)
    by_layer: bool
    settings: Settings
    bands: bool = False
    wholes: bool = True
    subject: tuple[ModelIdentity, ImageSetIdentity] | None = field(default=None, repr=False)

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become inputs."""
        if self.net.preprocessing is None:
            raise _no_preprocessing(self.net)
        return self.net.preprocessing

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names that were given to the classes, in their order; none where none were given."""
        return self.images.class_names if isinstance(self.images, NamedSource) else ()

    @property
    def n_candidates(self) -> int:
        """Hits of a feature map that the scan keeps, so that the top ones can be certified."""
        return self.top + SPARE

    @property
    def n_images(self) -> int:
        """Number of images in the set, readable or not."""
        return len(self.images)

    @property
    def n_maps(self) -> int:
        """Number of feature maps that are projected."""
        return sum(map(len, self.channels))

    @property
    def n_projections(self) -> int:
        """Number of projections, if every map has enough hits."""
        return sum(self.n_hits)

    @property
    def n_hits(self) -> tuple[int, ...]:
        """For each layer, the number of its projections, if every map has enough hits."""
        return tuple(len(own) * min(self.top, self.n_images) for own in self.channels)

    @property
    def n_bands(self) -> int:
        """Number of examples of bands that are projected, roughly: how many bins have one is known after the scan."""
        return self.n_maps * min(_BINS_OF_A_MAP, self.n_images) * self.bands

    @property
    def rules_name(self) -> str:
        """What the rules are called: their name, or their names where they were chosen layer by layer."""
        return " and ".join(dict.fromkeys(rules.name for rules in self.rules))

    @property
    def n_hit_images(self) -> int:
        """Number of images with a hit or an example, roughly: as many as if each fell on an image at random."""
        return round(self.n_images * -math.expm1(-(self.n_projections + self.n_bands) / self.n_images))

    @property
    def file_bytes(self) -> float:
        """Size of the finished atlas, roughly; `backlight.atlas.estimate` tries how tiles are packed."""
        return self.file_bytes_of({})

    def file_bytes_of(self, tile_bytes: Mapping[int, float]) -> float:
        """Return the size of the finished atlas, roughly.

        Args:
            tile_bytes: Bytes of a pixel of a tile, of some layers, by their places in the plan; others are taken to be
                as the nearest of them.
        """

        def packed(index: int) -> float:
            known = min(tile_bytes, key=lambda own: abs(own - index), default=None)
            return _BYTES_PER_PIXEL if known is None else tile_bytes[known]

        hits = list(zip(self.n_hits, self.layers, strict=True))
        tiles = sum(
            n * (self.tile_area(layer) * packed(i) + _BYTES_PER_HIT) for i, (n, layer) in enumerate(hits)
        ) * (1 + self.n_bands / self.n_projections)
        positions = sum(n * math.prod(layer.shape[1:]) for n, layer in hits if layer.is_spatial) * self.wholes
        return (
            _BYTES_OF_NONE
            + tiles
            + _BYTES_PER_MAP * sum(layer.n_maps for layer in self.layers)
            + self.n_hit_images * self.wholes * math.prod(self.preprocessing.crop) * _BYTES_PER_WHOLE_PIXEL
            + positions * _BYTES_PER_POSITION
        )

    def tile_area(self, layer: Layer) -> int:
        """Return the pixels of a layer's largest tile: its receptive field, or the whole image."""
        height, width = self.preprocessing.crop
        if layer.receptive_field is None:
            return height * width
        return min(layer.receptive_field.size[0], height) * min(layer.receptive_field.size[1], width)

    @cached_property
    def identity(self) -> AtlasIdentity:
        """What the atlas is of: an atlas is only resumed under an equal plan. Reads all weights, once."""
        model, images = self.subject or (
            ModelIdentity(self.net.name, self.net.input_shape, self.net.fingerprint()),
            ImageSetIdentity(self.images.name, self.n_images, self.images.fingerprint()),
        )
        channels = {y.name: own for y, own in zip(self.layers, self.channels, strict=True)}
        return AtlasIdentity(
            model, self.preprocessing, images, self.rules_identity, Selection(self.top, channels)
        )

    @property
    def rules_identity(self) -> RulesIdentity:
        """By which rules hits are projected, as an atlas keeps it."""
        by_layer = {y.name: own for y, own in zip(self.layers, self.rules, strict=True)}
        if self.by_layer:
            return RulesIdentity(self.rules_name, None, by_layer)
        return RulesIdentity(self.rules_name, self.rules[0])

    def known(self) -> Plan:
        """Return the plan with its subject: plans made of it read neither the weights nor the images again."""
        return replace(self, subject=(self.identity.model, self.identity.image_set))

    def under(self, rules: RuleSet | Mapping[str, RuleSet]) -> Plan:
        """Return the plan by other rules; by layer name if they differ, DECONVNET for layers not named."""
        layers, own = with_rules(self.net, self.layers, rules)
        return replace(self, layers=layers, rules=own, by_layer=not isinstance(rules, RuleSet))

    def check_rules(self) -> None:
        """Raise UnsupportedOperatorError unless every layer can be projected by its rules."""
        for rule in dict.fromkeys(self.rules):
            its = [y for y, own in zip(self.layers, self.rules, strict=True) if own == rule]
            check_rules(self.net, its, rule)

    def shards(self, start: int = 0) -> list[Shard]:
        """Return the images from an id on, in shards that are scanned and kept one by one."""
        batch_size = self.settings.batch_size
        wanted = self.settings.shard_images or min(SCAN_STEP_IMAGES, -(-self.n_images // SCAN_STEPS))
        step = -(-wanted // batch_size) * batch_size
        return [Shard(i, min(i + step, self.n_images)) for i in range(start, self.n_images, step)]

    def with_settings(self, settings: Settings) -> Plan:
        """Return the plan, to be computed as other settings say."""
        return replace(self, settings=settings)

    def __str__(self) -> str:
        """Return how much there is to do, in one line."""
        counts = [(self.n_images, "image"), (len(self.layers), "layer"), (self.n_maps, "feature map")]
        counts.append((self.n_projections, "projection"))
        words = ", ".join(f"{count} {thing}{'' if count == 1 else 's'}" for count, thing in counts)
        bands = ", and examples of the maps' bands" if self.bands else ""
        return f"{words} by {self.rules_name}{bands}"


def plan_build(
    net: Network,
    images: ImageSource | OneImage | Items,
    layers: Layers | None = None,
    top: int = 9,
    rules: RuleSet | str | Mapping[str, RuleSet | str] = DECONVNET,
    *,
    maps: Maps = None,
    seed: int = 0,
    batch_size: int = 32,
    compile: Compile = "auto",
    bands: bool = False,
    wholes: bool = True,
    shard_images: int | None = None,
    labels: ClassNames | None = None,
) -> Plan:
    """Return the plan of a build: what `backlight.build` would do with the same arguments. Nothing is run or written.

    Args:
        net: The captured network; needs a preprocessing.
        images: Whatever `open_images` takes: a folder, a list file, tar shards, pictures, a Dataset.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits of a feature map, at least 1.
        rules: How activations are projected back, as `build` takes them.
        maps: Feature maps of each layer to project: a random sample of so many, a list of channels, None or "all" for
            all; by layer name if it differs, all of layers not named.
        seed: Random seed of that sample, which does not depend on the images.
        batch_size: Images that are read together, and projected in one forward pass at most.
        compile: Whether to compile the network for the scan: `on`, `off`, or `auto`, by the rule of
            `backlight.scan.should_compile`.
        bands: Whether to project an example of each bin of every map's histogram, beside the hits.
        wholes: Whether to keep each image of a hit whole, and the activations of the hit's map over it.
        shard_images: Images that are scanned and kept at a time, rounded up to whole batches; None for a
            sixteenth of all, at most 256.
        labels: Names of the classes, as `build` takes them.

    Raises:
        BadInputError: An unknown layer, a channel out of range, a number below 1, no image, no preprocessing.
        UnsupportedOperatorError: An operator between a layer and the pixels has no rule.

    Example:
        >>> import torch, backlight, numpy as np
        >>> preprocessing = backlight.Preprocessing.default(3, 8)
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(model, (3, 8, 8), preprocessing)
        >>> print(plan_build(net, [np.zeros((9, 9, 3), np.uint8)] * 20, maps=2))
        20 images, 1 layer, 2 feature maps, 18 projections by deconvnet
    """
    rules = as_rules(rules)
    source = open_images(images)
    if labels is not None:
        source = NamedSource(source, class_names(labels))
    if net.preprocessing is None:
        raise _no_preprocessing(net)
    if top < 1 or batch_size < 1:
        raise BadInputError(f"top and batch size must be at least 1, got {top} and {batch_size}")
    if shard_images is not None and shard_images < 1:
        raise BadInputError(f"a shard has at least one image, got {shard_images}")
    if not len(source):
        raise BadInputError(f"{source.name!r} holds no image; name a folder that does")
    chosen = _choose_layers(net, layers)
    named, of_others = (maps, None) if isinstance(maps, Mapping) else ({}, maps)
    its_maps = {net.layer(name): found for name, found in named.items()}
    channels = tuple(choose_maps(layer, its_maps.get(layer, of_others), seed) for layer in chosen)
    chosen, its = with_rules(net, chosen, rules)
    _check_limits(net, top, [y.name for y in chosen], [rule.name for rule in its])
    compiled = should_compile(compile, net.device, len(source))
    settings = Settings(batch_size, torch.get_num_threads(), compiled, compile != "on", shard_images)
    by_layer = not isinstance(rules, RuleSet)
    plan = Plan(net, source, chosen, channels, top, its, by_layer, settings, bands, wholes)
    plan.check_rules()
    return plan


def with_rules(
    net: Network, layers: Sequence[Layer], rules: RuleSet | Mapping[str, RuleSet]
) -> tuple[tuple[Layer, ...], tuple[RuleSet, ...]]:
    """Return layers with the field of their rules, so that no tile cuts a projection off, and the rules of each.

    Args:
        net: The network.
        layers: Some of its layers.
        rules: Their rules; by layer name if they differ, DECONVNET for layers not named.
    """
    named, default = ({}, rules) if isinstance(rules, RuleSet) else (rules, DECONVNET)
    by_name = {net.layer(name).name: found for name, found in named.items()}
    own = tuple(by_name.get(layer.name, default) for layer in layers)
    fields = (under_rules(net.layer(y.name), rule) for y, rule in zip(layers, own, strict=True))
    return tuple(fields), own


def _choose_layers(net: Network, layers: Layers | None) -> tuple[Layer, ...]:
    chosen = choose_layers(net, layers)
    if not chosen:
        why = "".join(f" ({line})" for line in net.coverage().left_out_in_words())
        raise BadInputError(
            f"{net.name} has no feature maps to show by default{why}",
            python="name some: layers=[...]",
            command="name some with --layers",
        )
    return chosen


def choose_maps(layer: Layer, maps: MapsOfLayer, seed: int) -> tuple[int, ...]:
    """Return the feature maps of a layer that are projected; a sample depends on the seed and the layer's name only."""
    if maps is None or maps == "all":
        return tuple(range(layer.n_maps))
    if isinstance(maps, int):
        if maps < 1:
            raise BadInputError(f"the number of feature maps must be at least 1, got {maps}")
        key = int.from_bytes(hashlib.sha256(layer.name.encode()).digest()[:8], "big")
        drawn = np.random.default_rng([seed, key]).permutation(layer.n_maps)[:maps]
        return tuple(sorted(int(c) for c in drawn))
    if isinstance(maps, str) or not all(isinstance(own, int | np.integer) for own in maps):
        raise BadInputError(f"maps is a number, a list of channels, or None for all, got {maps!r}")
    for channel in maps:
        check_channel(layer, channel)
    return tuple(sorted(set(maps)))


def _check_limits(net: Network, top: int, layers: Sequence[str], rules: Sequence[str]) -> None:
    """Refuse, before any work, what a reader of the atlas would refuse: it may come from anybody."""
    if top > MOST_HITS:
        raise BadInputError(f"top is at most {MOST_HITS}, got {top}")
    for name in (net.name, *layers, *rules):
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise BadInputError(
                f"an atlas holds names of at most {LONGEST_NAME} printable characters, got {name[:80]!r}; "
                "rename the layer, the model or the rule set"
            )
    if net.preprocessing is not None:
        check_pixels(net.preprocessing.crop)


def _no_preprocessing(net: Network) -> BadInputError:
    return BadInputError(
        f"{net.name} was captured without preprocessing; "
        "pass capture(model, example, preprocessing=Preprocessing(...))"
    )
