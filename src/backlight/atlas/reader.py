"""Reading an atlas: its layers, by name, and what it says it is. Figures are drawn elsewhere, on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from backlight.atlas import checks
from backlight.atlas.cards import layer_table
from backlight.atlas.checksums import place
from backlight.atlas.contents import Contents
from backlight.atlas.damage import damaged, reading
from backlight.atlas.descriptions import LayerDescription
from backlight.atlas.drawing import draw
from backlight.atlas.file import AtlasFile
from backlight.atlas.layers import AtlasLayer
from backlight.atlas.listed import AtlasImages
from backlight.atlas.origin import CLASSES
from backlight.atlas.origin import KEY as ORIGIN
from backlight.atlas.other_rules import OtherRules, read_other_rules
from backlight.atlas.records import UnitHit
from backlight.engines.identity import (
    ImageSetIdentity,
    ModelIdentity,
    RulesIdentity,
    Selection,
)
from backlight.errors import BadInputError, UnknownLayerError
from backlight.images import Preprocessing
from backlight.images.skipped import Skipped
from backlight.operators.ruleset import RuleSet
from backlight.render import DEFAULT_SCALING, Scaling
from backlight.text import closest, counted


class Atlas(Mapping[str, AtlasLayer]):
    """An atlas, opened read-only; `atlas[layer][channel]` is a feature map.

    Made by `build` and `open_atlas`.

    Attributes:
        file: The open file.
        identity: What it is of: network, preprocessing, images, rules, selection.
        images: The images that were read, by id.
    """

    def __init__(self, path: Path, rules: str | RuleSet | None = None) -> None:
        self.file = AtlasFile(path)
        try:
            self.identity = self.file.identity()
            self.images = AtlasImages(self.file, self.image_set.n_images, self.preprocessing.crop)
            known, keys = self._read_descriptions(), None
            self._own_rules, self._own_layers = self.identity.rules, tuple(known.values())
            if isinstance(rules, RuleSet):
                rules = self._name_of(rules)
            if rules is not None and rules != self.rules.name:
                shown = self._others_by_name(rules)
                self.identity, keys = replace(self.identity, rules=shown.rules), shown.keys
                known = {name: shown.descriptions[i] for i, name in enumerate(known)}
            contents = Contents(self.file, self.identity, self.images, self.classes, keys)
            self._layers = {
                name: AtlasLayer(contents, i, name, about) for i, (name, about) in enumerate(known.items())
            }
        except BaseException:
            self.close()
            raise

    def _read_descriptions(self) -> dict[str, LayerDescription]:
        """Return what each layer is, in the order of the graph, which is that of the layers' ids."""
        selected, found = self.selection.channels, dict[str, LayerDescription]()
        (rows,) = self.file.group("layer")
        for layer_id, name, text in rows:
            with reading(self.path, f"{place('layer')} (layer_id {layer_id})"):
                checks.whole(layer_id, "layer_id", len(found), len(found))
                channels = selected[checks.name(name, "layer name")]
                found[name] = checks.description(text, channels, found)
        if list(found) != list(selected):
            raise damaged(self.path, place("layer"), "the layers are not those of the plan")
        return found

    @cached_property
    def other_rules(self) -> tuple[OtherRules, ...]:
        """The rule sets that were added to those that it was built with (`extend`)."""
        return read_other_rules(self.file, self.selection.channels, self._own_layers)

    @property
    def rule_sets(self) -> tuple[str, ...]:
        """By which rules its hits are projected, by name: those that it was built with first."""
        return (self._own_rules.name, *(other.rules.name for other in self.other_rules))

    def _name_of(self, rules: RuleSet) -> str:
        """Return what a rule set is called in the atlas; its own name where the atlas does not have it."""
        known = (self._own_rules, *(other.rules for other in self.other_rules))
        return next((own.name for own in known if own.everywhere == rules), rules.name)

    def _others_by_name(self, rules: str) -> OtherRules:
        found = next((own for own in self.other_rules if own.rules.name == rules), None)
        if found is None:
            raise BadInputError(
                f"{self.path.name} has no projections by {rules}; it has those by {', '.join(self.rule_sets)}",
                python="extend(net, images, path, rules=...) adds some",
                command=f"`backlight extend {self.path.name} --rules {rules}` adds them",
            )
        return found

    def under(self, rules: str | RuleSet) -> Atlas:
        """Return the atlas with its hits as another of its rule sets projects them, opened once more.

        It has the same hits, and what is known of them; neither evidence, which studies find out about the atlas's own
        projections, nor examples of bands.

        Args:
            rules: One of `rule_sets`, or the rule set itself, whatever it is called there.

        Raises:
            BadInputError: The atlas has no projections by these rules; says how to add them.
        """
        return Atlas(self.path, rules)

    @property
    def path(self) -> Path:
        """The atlas's file."""
        return self.file.path

    @property
    def model(self) -> ModelIdentity:
        """The network that it was built with."""
        return self.identity.model

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures became the network's inputs."""
        return self.identity.preprocessing

    @property
    def image_set(self) -> ImageSetIdentity:
        """The images that it was built over."""
        return self.identity.image_set

    @property
    def rules(self) -> RulesIdentity:
        """By which rules hits were projected."""
        return self.identity.rules

    @property
    def selection(self) -> Selection:
        """What was chosen: hits of a feature map, and the feature maps that are projected."""
        return self.identity.selection

    @property
    def layers(self) -> tuple[AtlasLayer, ...]:
        """The layers, in the order of the graph."""
        return tuple(self._layers.values())

    @property
    def phase(self) -> str:
        """`scan`, `certify`, `project`, `band` or `light` while the atlas is unfinished, then `done`."""
        return self.file.phase

    @property
    def origin(self) -> dict[str, str | None]:
        """What `backlight build` was given: `model`, `weights`, `images`; empty for an atlas built from Python."""
        (rows,) = self.file.group("meta")
        with reading(self.path, f"{place('meta')} (origin)"):
            return next((checks.origin(value) for key, value in rows if key == ORIGIN), {})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that `build` was given, in their order; none where none were given."""
        (rows,) = self.file.group("meta")
        with reading(self.path, f"{place('meta')} ({CLASSES})"):
            return next((checks.classes(value) for key, value in rows if key == CLASSES), ())

    @property
    def n_channels(self) -> int:
        """Channels of the network's input, 1 or 3."""
        return self.model.input_shape[0]

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The pictures that could not be read."""
        return self.images.skipped

    @property
    def n_scanned(self) -> int:
        """Number of images that were read."""
        return len(self.images)

    def hits_of(self, image_id: int) -> tuple[UnitHit, ...]:
        """Return which feature maps an image is a hit of, in the order of layers, channels and ranks.

        Only feature maps that were projected have hits. An image that was never read is a hit of none.
        """
        where = f"table hit (image_id {image_id})"
        query = "SELECT layer_id, channel, rank FROM hit WHERE image_id = {:d} ORDER BY 1, 2, 3"
        rows, layers = self.file.rows(where, query.format(image_id)), self.layers
        found = []
        for layer_id, channel, rank in rows:
            with reading(self.path, where):
                layer = layers[checks.whole(layer_id, "layer_id", 0, len(layers) - 1)]
                checks.whole(channel, "channel", 0, layer.n_maps - 1)
            # Read from its map's rows, which are compared with their checksum.
            hit = next((own for own in layer[channel].hits if own.rank == rank), None)
            if hit is None or hit.image_id != image_id:
                raise damaged(self.path, where, f"it is not hit {rank} of channel {channel} of {layer.name}")
            found.append(UnitHit(layer.name, channel, hit))
        return tuple(found)

    def __getitem__(self, layer: str) -> AtlasLayer:
        """Return a layer.

        Raises:
            UnknownLayerError: The atlas has no such layer.
        """
        if layer not in self._layers:
            names = list(self._layers)
            known = names if len(names) <= 8 else [*names[:4], f"… {names[-2]}", names[-1]]
            close = closest(layer, names)
            meant = "" if close is None else f"; did you mean {close!r}?"
            raise UnknownLayerError(
                f"{self.path.name} has no layer {layer!r}; it has {', '.join(known)}{meant}"
            )
        return self._layers[layer]

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._layers)

    def __iter__(self) -> Iterator[str]:
        """Yield the layer names."""
        return iter(self._layers)

    def figure(
        self,
        layer: str,
        channels: Sequence[int] | int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        columns: int | None = None,
        full_field: bool = False,
        *,
        low_pass: bool = False,
        names: bool = False,
    ) -> Image.Image:
        """Return the paper's Fig. 2 for a layer: the projections of each map's hits beside their patches.

        Args:
            layer: The layer's name.
            channels: Feature maps, in the order of the figure, or one; None takes the first 16 that were projected.
            scaling: How values become colours.
            columns: Maps side by side; None chooses.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.
            low_pass: Average the projections over half a stride of the layer, which removes checkerboards; the figure
                says so.
            names: Say below each map the labels of its hits and the names of their files.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: A channel that was not projected; a low-pass where half a stride is less than 2 pixels.
            AtlasError: The build is not finished.
        """
        return self[layer].figure(channels, scaling, columns, full_field, low_pass=low_pass, names=names)

    def superposed(
        self,
        layer: str,
        channels: Sequence[int] | int | None = None,
        top: int | None = None,
        scaling: Scaling | str = DEFAULT_SCALING,
        full_field: bool = False,
    ) -> Image.Image:
        """Return a figure of the top hits of each map superposed: aligned on the unit and added.

        Args:
            layer: The layer's name.
            channels: Feature maps, or one; None takes the first 16 that were projected.
            top: How many hits of each map; None takes all.
            scaling: How values become colours.
            full_field: Draw whole receptive fields, even where the projections fill only their centre.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: A channel that was not projected, a top below 1.
            AtlasError: The build is not finished.
        """
        return self[layer].superposed(channels, top, scaling, full_field)

    def filters_figure(self, layer: str, columns: int | None = None) -> Image.Image:
        """Return the filters of a layer that reads the pixels directly, as a figure.

        Raises:
            UnknownLayerError: The atlas has no such layer.
            BadInputError: The layer is a deeper one.
        """
        own = self[layer]
        return draw("filters_figure", own.heading(), own.filters, columns)

    def __repr__(self) -> str:
        """Return what it holds in short: `Atlas('s.atlas': 26 layers, 416 of 3976 maps, 1000 images)`."""
        shown = sum(len(layer.channels) for layer in self.layers)
        every = sum(layer.n_maps for layer in self.layers)
        maps = f"{shown} of {counted(every, 'map')}, {counted(self.image_set.n_images, 'image')}"
        n_left_out = self.images.n_listed[1]
        maps += f", {n_left_out} of them left out" if n_left_out else ""
        return f"Atlas({self.path.name!r}: {counted(len(self), 'layer')}, {maps})"

    def _repr_html_(self) -> str:
        about = f"{self.path.name}: {self.model.name} over {self.n_scanned} images of {self.image_set.name}"
        state = "" if self.phase == "done" else " (unfinished)"
        return layer_table(about + state, [(y.name, y.n_maps, len(y.channels)) for y in self.layers])

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_atlas(path: Path | str, rules: str | RuleSet | None = None) -> Atlas:
    """Return the atlas in a file, opened read-only.

    Args:
        path: The file.
        rules: By which of the atlas's rule sets hits are shown (`Atlas.under`); None for those that it was built with.

    Raises:
        AtlasError: There is no such file, or it is not an atlas.
        BadInputError: The atlas has no projections by these rules.
    """
    return Atlas(Path(path), rules)
