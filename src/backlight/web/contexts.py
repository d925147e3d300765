"""Contexts: what each page of a site shows, as plain frozen data; its `.json` twin is the same data.

Templates read nothing else. Lengths are pixels of the network's input, activations are in the network's own scale,
shares are 0 to 1, and every `href` is an address made by `backlight.web.links`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sprite:
    """A part of a sheet of pictures.

    Attributes:
        href: The sheet.
        width: Of the sheet, in its own pixels.
        height: Of the sheet.
        left: Of the part.
        top: Of the part.
        side: Width and height of the part.
    """

    href: str
    width: int
    height: int
    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Control:
    """What a control loses.

    Attributes:
        name: The control, or another rule set.
        value: Share of the activation that is lost when what it chooses is covered.
    """

    name: str
    value: float


@dataclass(frozen=True)
class EvidenceView:
    """What is known of how far projections can be trusted.

    Attributes:
        own: Share of the activation that is lost when what they show is covered; None where it could not be measured.
        controls: The same for each control.
        others: The same for other rule sets.
        verdict: In words.
        is_strong: Whether they beat every control.
        n: Number of hits, or of maps of a layer.
        gain: How much more is lost than by the same pixels turned about the unit; None where that is not known.
    """

    own: float | None
    controls: tuple[Control, ...]
    others: tuple[Control, ...]
    verdict: str
    is_strong: bool
    n: int
    gain: float | None


@dataclass(frozen=True)
class LabelCount:
    """How often a label is there.

    Attributes:
        label: The label.
        count: Number of hits with it.
        href: Its class.
    """

    label: str
    count: int
    href: str


@dataclass(frozen=True)
class Card:
    """A feature map in a grid.

    Attributes:
        id: Its name in the tray, `layer slug:channel`.
        layer: The layer's name.
        channel: Its channel.
        href: Its page.
        max: Its strongest activation.
        active_share: Share of the images in which it is active.
        is_dead: Whether it is active in none.
        stability: Of how many ranks it is known that another set of images would have hits as strong, in words.
        projections: Its projections, three by three; None for a dead map.
        patches: The patches beside them.
        n_hits: Number of hits shown.
        labels: Labels of its hits, most frequent first.
        files: File names of its hits.
        evidence: What is known of its projections; None before a study.
        purity: Share of its hits with their most frequent label.
    """

    id: str
    layer: str
    channel: int
    href: str
    max: float
    active_share: float
    is_dead: bool
    stability: str
    projections: Sprite | None
    patches: Sprite | None
    n_hits: int
    labels: tuple[LabelCount, ...]
    files: tuple[str, ...]
    evidence: EvidenceView | None
    purity: float


@dataclass(frozen=True)
class BoxView:
    """A rectangle of pixels of the preprocessed image, half-open; it may reach outside.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class HitView:
    """One of a map's strongest activations.

    Attributes:
        rank: 1 for the strongest.
        value: The activation.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
        box: What the unit sees.
        image_id: Its image.
        file: The image's file.
        label: The image's class.
        image_href: The image's page.
        projection: Its projection.
        patch: The patch.
        whole: The whole image; None where the atlas does not keep it.
        light: What dims the whole image where the map is not active; None where the atlas does not keep it.
    """

    rank: int
    value: float
    row: int | None
    col: int | None
    box: BoxView
    image_id: int
    file: str
    label: str | None
    image_href: str
    projection: Sprite
    patch: Sprite
    whole: Sprite | None
    light: Sprite | None


@dataclass(frozen=True)
class Example:
    """An image of one bin of a histogram: as good as drawn at random from those in it.

    Attributes:
        value: The map's strongest activation in it.
        file: Its file.
        label: Its class.
        projection: The projection of that activation.
        patch: The patch.
    """

    value: float
    file: str
    label: str | None
    projection: Sprite
    patch: Sprite


@dataclass(frozen=True)
class Bar:
    """A bin of the histogram of a map's strongest activation in each image.

    Attributes:
        low: Lower edge, not included.
        high: Upper edge; None for the last.
        count: Number of images.
        height: Share of the highest bar.
        holds_hits: Whether hits lie in it.
        example: An image of it; None where the atlas was built without `--bands`.
    """

    low: float
    high: float | None
    count: int
    height: float
    holds_hits: bool
    example: Example | None


@dataclass(frozen=True)
class Near:
    """A map of the same layer that is like another.

    Attributes:
        card: The map.
        shared: Number of images that are hits of both.
        filters: Cosine of the angle between their filters, -1 to 1; None where the atlas keeps none.
    """

    card: Card
    shared: int
    filters: float | None


@dataclass(frozen=True)
class MapView:
    """A feature map.

    Attributes:
        card: What its card shows.
        mean: Mean activation over all positions of all images.
        n_active: Number of images in which it is active.
        hits: Its hits, strongest first.
        histogram: Images by the map's strongest activation, from the lowest bin that is not empty; without those in
            which it is not active.
        n_inactive: Number of images in which it is not active.
        foretelling: What `backlight foretelling` found, in words; empty before.
        nearest: Maps of the layer that share most of its hits.
        alike: Maps of the layer whose filters are nearest to its own; none where the atlas keeps no filters, which it
            does of layers that read the pixels.
        before: Address of the map before it; None for the first.
        after: Address of the map after it.
    """

    card: Card
    mean: float
    n_active: int
    hits: tuple[HitView, ...]
    histogram: tuple[Bar, ...]
    n_inactive: int
    foretelling: str
    nearest: tuple[Near, ...]
    alike: tuple[Near, ...]
    before: str | None
    after: str | None


@dataclass(frozen=True)
class LayerView:
    """What every page says of a layer.

    Attributes:
        name: The layer's name.
        href: Its page.
        wall: The wall of all of its maps.
        operator: What made it.
        shape: (c, h, w), or (c,) for a fully connected one.
        n_maps: Number of feature maps.
        n_shown: Number of those that were projected.
        n_dead: Number of those shown that are active in no image.
        field: Height and width of what a unit sees; None for the whole image.
        tile: Height and width of what a tile shows.
        is_small: Whether its pixels are drawn as squares.
        rules: The rule set of its projections.
        evidence: What is known of them on the whole.
        foretelling: What `backlight foretelling` found, in words; empty before.
        example: A map that stands for the layer.
        compared: Address of its maps beside those of another atlas; None where they are not compared.
        sample: The strongest hit of that map.
        sources: The layers that feed it with no other layer of the atlas between, an empty name for the image; None in
            an atlas of an earlier version.
    """

    name: str
    href: str
    wall: str
    operator: str
    shape: tuple[int, ...]
    n_maps: int
    n_shown: int
    n_dead: int
    field: tuple[int, int] | None
    tile: tuple[int, int]
    is_small: bool
    rules: str
    evidence: EvidenceView | None
    foretelling: str
    example: Card | None
    compared: str | None
    sample: HitView | None
    sources: tuple[str, ...] | None


@dataclass(frozen=True)
class SiteView:
    """What every page says.

    Attributes:
        network: The network's name.
        n_images: Number of images that were read.
        n_shown: Number of feature maps shown.
        image_size: Height and width of a preprocessed image.
        image_set: Where the images were.
        rules: The rule sets, in words.
        has_labels: Whether images have labels.
        has_probe: Whether images of one's own can be probed: only where the site is served with a model.
        version: Backlight's version.
        beside: Name of the atlas that this one is compared with; empty where there is none.
    """

    network: str
    n_images: int
    n_shown: int
    image_size: tuple[int, int]
    image_set: str
    rules: str
    has_labels: bool
    has_probe: bool
    version: str
    beside: str


@dataclass(frozen=True)
class Wire:
    """A line of the diagram of layers, within one row.

    Attributes:
        start: The lane that it begins in, from 0.
        end: The lane that it ends in.
        part: `into` from the top of the row to its layer, `out` from there to the bottom, `past` from top to bottom.
    """

    start: int
    end: int
    part: str


@dataclass(frozen=True)
class Lanes:
    """What the diagram of layers shows in one row.

    Attributes:
        lane: Where the layer stands; None in a row without one.
        wires: The lines.
    """

    lane: int | None
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Block:
    """Layers that follow each other and have a part of their names in common; or a single one.

    Attributes:
        name: That part.
        first: Place of the first layer among all.
        n_layers: Number of layers.
        passing: What runs past its heading when it is unfolded.
        folded: What the diagram shows when it is folded.
    """

    name: str
    first: int
    n_layers: int
    passing: Lanes
    folded: Lanes


@dataclass(frozen=True)
class Run:
    """Blocks that follow each other and are alike: the same operators, shapes and connections; or a single block.

    Attributes:
        blocks: The blocks.
        passing: What runs past its heading when it is unfolded.
        folded: What the diagram shows when it is folded.
    """

    blocks: tuple[Block, ...]
    passing: Lanes
    folded: Lanes


@dataclass(frozen=True)
class NetworkPage:
    """The first page.

    Attributes:
        site: What every page says.
        layers: The layers, in the order of the graph.
        rows: The diagram's rows: the image's, then one for each layer.
        n_lanes: Number of lanes that are told apart.
        runs: How the layers are folded.
        is_open: Whether they are unfolded at first.
        example: The map that stands for the network.
        example_layer: Its layer.
    """

    site: SiteView
    layers: tuple[LayerView, ...]
    rows: tuple[Lanes, ...]
    n_lanes: int
    runs: tuple[Run, ...]
    is_open: bool
    example: Card | None
    example_layer: LayerView | None


@dataclass(frozen=True)
class LayerPage:
    """A page of a layer's maps.

    Attributes:
        site: What every page says.
        layer: The layer.
        cards: The maps of this page.
        page: Its number, from 1.
        pages: Addresses of all pages of the layer.
        scripts: Addresses of the scripts with the cards of the pages after the first.
        before: Address of the layer before it; None for the first.
        after: Address of the layer after it.
    """

    site: SiteView
    layer: LayerView
    cards: tuple[Card, ...]
    page: int
    pages: tuple[str, ...]
    scripts: tuple[str, ...]
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Scale:
    """A scale that projections can be shown in.

    Attributes:
        name: Its name.
        caption: What colour means, in words.
        sheet: The sheet of the page's projections in this scale.
    """

    name: str
    caption: str
    sheet: str


@dataclass(frozen=True)
class MapsPage:
    """A page of feature maps, of which one is shown at a time.

    Attributes:
        site: What every page says.
        layer: The layer.
        maps: The maps.
        scales: The scales that projections can be shown in, the one shown at first first.
    """

    site: SiteView
    layer: LayerView
    maps: tuple[MapView, ...]
    scales: tuple[Scale, ...]


@dataclass(frozen=True)
class WallPage:
    """All maps of a layer.

    Attributes:
        site: What every page says.
        layer: The layer.
        cards: Its maps.
    """

    site: SiteView
    layer: LayerView
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class ImageUnit:
    """A unit that an image is a hit of.

    Attributes:
        layer: The layer's name.
        channel: The feature map.
        href: The map's page.
        hit: The hit.
    """

    layer: str
    channel: int
    href: str
    hit: HitView


@dataclass(frozen=True)
class ImageView:
    """An image.

    Attributes:
        id: Its id.
        file: Its file.
        label: Its class.
        label_href: The class's page.
        size: Height and width before preprocessing.
        whole: The image as the network saw it; None where the atlas does not keep it.
        units: The units that it is a hit of, in the order of the layers.
    """

    id: int
    file: str
    label: str | None
    label_href: str | None
    size: tuple[int, int]
    whole: Sprite | None
    units: tuple[ImageUnit, ...]


@dataclass(frozen=True)
class ImagesPage:
    """A page of the images that are hits.

    Attributes:
        site: What every page says.
        images: The images.
        page: Its number, from 1.
        pages: Addresses of all such pages.
    """

    site: SiteView
    images: tuple[ImageView, ...]
    page: int
    pages: tuple[str, ...]


@dataclass(frozen=True)
class ClassView:
    """A class.

    Attributes:
        number: Its number among the labels.
        label: Its name.
        cards: Maps of which most hits have this label.
        images: Images of it that are hits: file and address.
    """

    number: int
    label: str
    cards: tuple[Card, ...]
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClassesPage:
    """The classes.

    Attributes:
        site: What every page says.
        classes: The classes that hits have, by name.
    """

    site: SiteView
    classes: tuple[ClassView, ...]


@dataclass(frozen=True)
class PlainPage:
    """A page whose content a script fills: the tray, the search.

    Attributes:
        site: What every page says.
    """

    site: SiteView


@dataclass(frozen=True)
class ProbeLayer:
    """A layer that can be probed.

    Attributes:
        name: The layer's name.
        slug: Its name in addresses.
        shape: (c, h, w), or (c,) for a fully connected one.
        rules: The rule set of the atlas's projections.
        middles: Down and across, the pixel in the middle of what the first unit sees, and pixels from one unit to the
            next; empty where all units see the same.
    """

    name: str
    slug: str
    shape: tuple[int, ...]
    rules: str
    middles: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Pick:
    """An image of the atlas to begin with.

    Attributes:
        id: Its name in the probe.
        file: Its file.
        whole: The image; None where the atlas does not keep it.
    """

    id: str
    file: str
    whole: Sprite | None


@dataclass(frozen=True)
class ProbePage:
    """The page that takes an image of one's own.

    Attributes:
        site: What every page says.
        layers: The layers, in the order of the graph.
        picks: Some images of the atlas; none where it does not keep them.
        largest: Bytes that a picture may have.
    """

    site: SiteView
    layers: tuple[ProbeLayer, ...]
    picks: tuple[Pick, ...]
    largest: int


@dataclass(frozen=True)
class AboutPage:
    """What the atlas is of.

    Attributes:
        site: What every page says.
        fingerprint: Hash of the network's graph and weights.
        input_shape: (c, h, w) of an input.
        preprocessing: How pictures became inputs, by name.
        images_fingerprint: Hash of the names and sizes of the images.
        n_skipped: Number of pictures that could not be read.
        skipped: The first of them: file and reason.
        studies: By layer what the studies found, in words.
    """

    site: SiteView
    fingerprint: str
    input_shape: tuple[int, ...]
    preprocessing: dict[str, str]
    images_fingerprint: str
    n_skipped: int
    skipped: tuple[tuple[str, str], ...]
    studies: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """A feature map as one of two atlases shows it.

    Attributes:
        max: Its strongest activation.
        is_dead: Whether it is active in no image.
        label: The label that more than half of its hits have; empty where there is none.
        shared: Ranks, from 0, of the hits shown whose images are hits in the other atlas too.
        projections: Its projections, three by three; None for a dead map.
        patches: The patches beside them.
    """

    max: float
    is_dead: bool
    label: str
    shared: tuple[int, ...]
    projections: Sprite | None
    patches: Sprite | None


@dataclass(frozen=True)
class MapChangeView:
    """How a feature map differs between two atlases.

    Attributes:
        channel: Its channel.
        href: Its page in this site.
        changed: Share of its hits' images that are not the same in both; 1 if it is dead in only one.
        n_shared: Number of images that are hits in both.
        n_hits: Number of hits that were compared.
        filters: Cosine distance between its two filters, 0 to 2; None where they are not kept.
        strength: The strongest activation of the other, in parts of ours; None where one is not above zero.
        gain: How much larger the other's gain of evidence is; None where one of them was not studied.
        ours: The map in this atlas.
        theirs: The map in the other one.
    """

    channel: int
    href: str
    changed: float
    n_shared: int
    n_hits: int
    filters: float | None
    strength: float | None
    gain: float | None
    ours: Side
    theirs: Side


@dataclass(frozen=True)
class LayerChangeView:
    """How a layer's maps differ between two atlases.

    Attributes:
        layer: What every page says of the layer.
        href: The page of its maps, side by side.
        n_compared: Number of maps that both atlases show.
        n_left_out: Number of maps that only one shows.
        changed: Mean of the maps' changes.
        filters: Mean distance of their filters; None where they are not kept.
        n_died: Number of maps that are dead in the other atlas only.
        n_revived: Number of maps that are dead in this atlas only.
        counts: Number of maps by how much they changed, in ten steps: 0 for those near 0, 9 for those near 1.
        example: The map that changed most, of those that both have pictures of.
    """

    layer: LayerView
    href: str
    n_compared: int
    n_left_out: int
    changed: float
    filters: float | None
    n_died: int
    n_revived: int
    counts: tuple[int, ...]
    example: MapChangeView | None


@dataclass(frozen=True)
class ComparePage:
    """The layers of two atlases side by side.

    Attributes:
        site: What every page says.
        name: Name of this atlas; that of the other is the site's `beside`.
        changes: The layers that were compared, in the order of the graph.
        left_out: Layers that were not, each with the reason.
        top: Hits of a map that were compared, at most.
        by_chance: Share of a map's hits that would be the same if they were drawn at random.
        differences: In words, what else differs between the two: weights, preprocessing and so on.
    """

    site: SiteView
    name: str
    changes: tuple[LayerChangeView, ...]
    left_out: tuple[tuple[str, str], ...]
    top: int
    by_chance: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class CompareLayerPage:
    """A page of a layer's maps beside those of another atlas, most changed first.

    Attributes:
        site: What every page says.
        name: Name of this atlas; that of the other is the site's `beside`.
        change: The layer.
        maps: The maps of this page.
        page: Its number, from 1.
        pages: Addresses of all pages of the layer.
        before: Address of the layer before it; None for the first.
        after: Address of the layer after it.
    """

    site: SiteView
    name: str
    change: LayerChangeView
    maps: tuple[MapChangeView, ...]
    page: int
    pages: tuple[str, ...]
    before: str | None
    after: str | None


Page = (
    NetworkPage
    | LayerPage
    | MapsPage
    | WallPage
    | ImagesPage
    | ClassesPage
    | PlainPage
    | ProbePage
    | AboutPage
    | ComparePage
    | CompareLayerPage
)
