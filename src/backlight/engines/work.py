"""Units of work: a plan in pieces that an engine can carry out anywhere, in any order, and what each gives back.

A scan is cut into shards of images. What is known of two shards merges into what is known of both, in any order.
What it leaves open about hits is asked in groups of images (`backlight.scan.certain`). A projection is cut into groups
of hits, and the pass that keeps images whole into groups of images; no group depends on another. All of it can be
pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from backlight.engines.plan import Plan, Shard
from backlight.network import Layer
from backlight.operators.ruleset import RuleSet
from backlight.progress import Progress
from backlight.projection import MOST_IMAGES, MOST_UNITS, Crops, group_layers, inputs_at_once
from backlight.scan import Scan
from backlight.scan.certain import Answer, QuestionGroup

LIGHT_IMAGES = 32
"""Images of a group that is kept whole: what a killed build loses at most. Fixed, so that no setting shows in it."""


@dataclass(frozen=True, eq=False)
class Partial:
    """What a scan has found in some of the images.

    Attributes:
        shard: Which images.
        scan: The hits and statistics of every feature map, and the images that could not be read.
        sizes: Height and width of each image that was read, before preprocessing, by its id.
        is_compiled: Whether the network was compiled.
    """

    shard: Shard
    scan: Scan
    sizes: Mapping[int, tuple[int, int]]
    is_compiled: bool


def merge(one: Partial, other: Partial) -> Partial:
    """Return what is known of the images of both, which follow each other, in either order.

    Raises:
        ValueError: Images lie between the two, or are in both.
    """
    first, second = sorted((one.shard, other.shard), key=lambda own: own.start)
    if first.stop != second.start:
        raise ValueError(f"{first} and {second} do not follow each other")
    # No image is in both, so neither mapping overwrites an entry of the other; compiled means in all of its parts.
    return Partial(
        Shard(first.start, second.stop),
        one.scan.merge(other.scan),
        {**one.sizes, **other.sizes},
        one.is_compiled and other.is_compiled,
    )


@dataclass(frozen=True)
class PendingHit:
    """A hit, or an example of a band, whose tile is still to be made.

    Attributes:
        layer_index: Place of its layer in the plan.
        channel: The feature map.
        rank: 0 for the map's strongest hit; of an example of a band its bin.
        image_id: The image.
        row: Row of the unit; None for a fully connected one.
        col: Column of the unit.
    """

    layer_index: int
    channel: int
    rank: int
    image_id: int
    row: int | None
    col: int | None


@dataclass(frozen=True)
class Group:
    """Hits that are projected together, and how.

    Attributes:
        layers: The layers that share a rewritten network, as places in the plan; the hits may be of some of them.
        rules: The rule set.
        crops: The crops that are run instead of whole images; None for whole images.
        hits: The hits.
    """

    layers: tuple[int, ...]
    rules: RuleSet
    crops: Crops | None
    hits: tuple[PendingHit, ...]


@dataclass(frozen=True)
class FinishedTile:
    """The tile of a hit, as it is kept: patch and projection as WebP, and the projection's scale."""

    hit: PendingHit
    patch: bytes
    projection: bytes
    scale: float


@dataclass(frozen=True)
class LightGroup:
    """Images that are kept whole together, and the hits in them whose maps of activations are kept.

    Attributes:
        image_ids: The images, ascending.
        hits: Their hits that have a place; the network is not run where there are none.
    """

    image_ids: tuple[int, ...]
    hits: tuple[PendingHit, ...]


@dataclass(frozen=True)
class FinishedLight:
    """What is kept of a group of images.

    Attributes:
        pictures: By id, each image as the network saw it, as WebP.
        activations: For each hit, the activations of its map over the whole image (`tiles.encode_activation`).
    """

    pictures: Mapping[int, bytes]
    activations: tuple[tuple[PendingHit, bytes], ...]


@runtime_checkable
class Engine(Protocol):
    """Who carries out a plan. Which engine, and how it splits the work, does not show in the atlas."""

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress) -> Iterator[Partial]:
        """Yield what is found in the shards, each partial of one of them or of several, in their order.

        A partial may leave out hits that cannot be among the candidates (`Plan.n_candidates`) of their half of the
        images (`HalvedHits`), all shards together.
        """

    def certify(self, plan: Plan, groups: Sequence[QuestionGroup]) -> Iterator[tuple[Answer, ...]]:
        """Yield the answers to each group of questions about hits, in the order of the groups."""

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        """Yield the tiles of the groups, in any order."""

    def light(self, plan: Plan, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
        """Yield what is kept of each group of images, in any order."""


def groups_of(plan: Plan, pending: Sequence[Sequence[PendingHit]]) -> list[Group]:
    """Return the hits of a finished scan in groups; the same hits always give the same groups.

    Args:
        plan: The plan.
        pending: The hits of each layer of the plan.

    *Convention*: hits on whole images are grouped image by image, so that one forward pass serves them all.
    """
    groups: list[Group] = []
    images_of = [[hit.image_id for hit in hits] for hits in pending]
    for rules, layers, crops in projected_together(plan, images_of):
        hits = [hit for i in layers for hit in pending[i]]
        n = inputs_at_once(plan.net, crops, min(plan.settings.batch_size, MOST_IMAGES))
        if crops is None:
            # Stable: the hits of an image stay in the order of layers, channels and ranks.
            hits.sort(key=lambda hit: hit.image_id)
        # On whole images n images serve many units each; on crops each unit has an input of its own, so n units.
        for own in _slices(hits, MOST_UNITS if crops is None else n, n):
            groups.append(Group(tuple(layers), rules, crops, own))
    return groups


def light_groups(hits: Sequence[PendingHit], others: Iterable[int]) -> list[LightGroup]:
    """Return the images of hits in groups, then other images; the same hits always give the same groups.

    Args:
        hits: All hits.
        others: Ids of images that are kept too, such as those of examples; the network is not run on them.
    """
    own = sorted({hit.image_id for hit in hits})
    by_image: dict[int, list[PendingHit]] = {image_id: [] for image_id in own}
    for hit in hits:
        if hit.row is not None:
            by_image[hit.image_id].append(hit)
    groups = []
    for images in (own, sorted(set(others) - by_image.keys())):
        for i in range(0, len(images), LIGHT_IMAGES):
            ids = images[i : i + LIGHT_IMAGES]
            groups.append(LightGroup(tuple(ids), tuple(hit for j in ids for hit in by_image.get(j, ()))))
    return groups


def projected_together(
    plan: Plan, images_of: Sequence[Sequence[int]]
) -> Iterator[tuple[RuleSet, list[int], Crops | None]]:
    """Yield which layers are projected together (as places in the plan), by which rules, and on which crops.

    Args:
        plan: The plan.
        images_of: For each layer, the images of its hits.
    """
    # A graph is rewritten by one rule set, so layers under different rules never share one. In order of first use.
    for rules in dict.fromkeys(plan.rules):
        mine = [i for i, own in enumerate(plan.rules) if own == rules]
        layers: list[Layer] = [plan.layers[i] for i in mine]
        for group, crops in group_layers(plan.net, layers, rules, [images_of[i] for i in mine]):
            # `group` holds places among `mine`: back to places in the plan.
            yield rules, [mine[i] for i in group], crops


def _slices(hits: Sequence[PendingHit], most: int, most_images: int) -> list[tuple[PendingHit, ...]]:
    """Return the hits in slices of at most so many, of at most so many images."""
    slices: list[list[PendingHit]] = []
    images: set[int] = set()
    for hit in hits:
        # A slice is full when it has enough hits, or when one more would need another image.
        if not slices or len(slices[-1]) == most or len(images | {hit.image_id}) > most_images:
            slices.append([])
            images = set()
        slices[-1].append(hit)
        images.add(hit.image_id)
    return [tuple(own) for own in slices]
