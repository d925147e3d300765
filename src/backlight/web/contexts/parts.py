"""Pieces that several pages show."""

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
class RulesView:
    """A feature map by another rule set.

    Attributes:
        rules: What the rules are called.
        projections: The projections of its hits by these rules, three by three.
    """

    rules: str
    projections: Sprite


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
        doubt: What is not certain of its hits because they are nearly equal, in a sentence; empty where all is.
        projections: Its projections, three by three; None for a dead map.
        patches: The patches beside them.
        n_hits: Number of hits shown.
        labels: Labels of its hits, most frequent first.
        files: File names of its hits.
        evidence: What is known of its projections; None before a study.
        purity: Share of its hits with their most frequent label.
        selectivity: How many times stronger the weakest of its hits shown is than its mean activation; 0 where it has
            none, or its mean is not above zero.
        name: The name of its class, where it is one with a name; else empty.
    """

    id: str
    layer: str
    channel: int
    href: str
    max: float
    active_share: float
    is_dead: bool
    stability: str
    doubt: str
    projections: Sprite | None
    patches: Sprite | None
    n_hits: int
    labels: tuple[LabelCount, ...]
    files: tuple[str, ...]
    evidence: EvidenceView | None
    purity: float
    selectivity: float
    name: str = ""


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
        shown: Top, left and side of what these two show, in pixels of the preprocessed image; it may reach outside.
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
    shown: tuple[float, float, float]
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
class StepView:
    """A feature map at a step of a training: its strongest unit over the images of the evolution.

    Attributes:
        step: The step's label.
        short: The same without what all labels have in common.
        value: The activation.
        file: The image's file; empty where there is none.
        is_active: Whether any image activates the map.
        is_other: Whether the image is another one than at the step before.
        is_atlas: Whether the atlas is of the network as it was then.
        projection: The projection.
    """

    step: str
    short: str
    value: float
    file: str
    is_active: bool
    is_other: bool
    is_atlas: bool
    projection: Sprite


@dataclass(frozen=True, kw_only=True)
class MapView:
    """A feature map.

    Attributes:
        card: What its card shows.
        mean: Mean activation over all positions of all images.
        n_active: Number of images in which it is active.
        hits: Its hits, strongest first.
        by_rules: Its hits by the other rule sets that the atlas has; none for a map without hits.
        histogram: Images by the map's strongest activation, from the lowest bin that is not empty; without those in
            which it is not active.
        n_inactive: Number of images in which it is not active.
        foretelling: What `backlight foretelling` found, in words; empty before.
        nearest: Maps of the layer that share most of its hits.
        alike: Maps of the layer whose filters are nearest to its own; none where the atlas keeps none of the
            layer.
        evolution: The steps of a training; none where no evolution has followed the map.
        findings: What a diagnosis has found of it: the finding's name, and a sentence.
        before: Address of the map before it; None for the first.
        after: Address of the map after it.
    """

    card: Card
    mean: float
    n_active: int
    hits: tuple[HitView, ...] = ()
    by_rules: tuple[RulesView, ...] = ()
    histogram: tuple[Bar, ...]
    n_inactive: int
    foretelling: str
    nearest: tuple[Near, ...] = ()
    alike: tuple[Near, ...] = ()
    evolution: tuple[StepView, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
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
    href: str = ""
    wall: str = ""
    operator: str = ""
    shape: tuple[int, ...]
    n_maps: int
    n_shown: int
    n_dead: int
    field: tuple[int, int] | None
    tile: tuple[int, int]
    is_small: bool
    rules: str
    evidence: EvidenceView | None = None
    foretelling: str = ""
    example: Card | None = None
    compared: str | None = None
    sample: HitView | None = None
    sources: tuple[str, ...] | None = None


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
        has_diagnosis: Whether there is a page of what is wrong with the network.
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
    has_diagnosis: bool
