"""Pages: the context of each page of a site, made from an atlas when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from backlight.atlas import AtlasLayer
from backlight.images import FunctionPreprocessing
from backlight.render import DEFAULT_SCALING
from backlight.web import blocks, lanes, links
from backlight.web.contexts import (
    AboutPage,
    Card,
    ClassesPage,
    ClassView,
    ImagesPage,
    LayerPage,
    LayerView,
    MapsPage,
    NetworkPage,
    Pick,
    PlainPage,
    ProbeLayer,
    ProbePage,
    Scale,
    WallPage,
)
from backlight.web.probe.limits import MOST_BYTES
from backlight.web.sheets import KINDS, SCALED
from backlight.web.views import MOSTLY, Views, with_best_evidence

_SCALES = {
    "percentile": "full colour from the 99th percentile of magnitudes upwards",
    "signed": "full colour at the largest magnitude alone",
    "magnitude": "brighter is stronger, of any sign; faint pixels are lifted",
}
_FEW_SKIPPED, _PICKS = 50, 24


def network(views: Views) -> NetworkPage:
    """Return the context of the first page."""
    layers = tuple(views.layer(name) for name in views.atlas)
    rows = lanes.lanes(list(views.atlas), [layer.sources for layer in layers])
    # patches of a few pixels say nothing to a newcomer
    example = _example([own for own in layers if not own.is_small]) or _example(layers)
    return NetworkPage(
        site=views.site,
        layers=layers,
        rows=rows,
        n_lanes=lanes.width(rows),
        runs=blocks.runs(layers, rows[1:]),
        is_open=blocks.is_open(layers),
        example=example,
        example_layer=None if example is None else views.layer(example.layer),
    )


def _example(layers: Sequence[LayerView]) -> Card | None:
    """Return the map that stands for some layers: the one with the best evidence, or else one of a late layer."""
    examples = [layer.example for layer in layers if layer.example is not None]
    # at two thirds of the depth, units see whole things, and their projections are still clear
    return with_best_evidence(examples) or (examples[2 * len(examples) // 3] if examples else None)


def layer(views: Views, name: str, page: int) -> LayerPage:
    """Return the context of a page of a layer, numbered from 1."""
    slug, cards = views.slugs[name], list(views.cards(name).values())
    names = list(views.atlas)
    at, n_pages = names.index(name), links.n_pages(len(cards))
    first = (page - 1) * links.PER_PAGE
    return LayerPage(
        site=views.site,
        layer=views.layer(name),
        cards=tuple(cards[first : first + links.PER_PAGE]),
        page=page,
        pages=tuple(links.layer(slug, i + 1) for i in range(n_pages)),
        scripts=tuple(links.cards(slug, i + 1) for i in range(1, n_pages)),
        before=links.layer(views.slugs[names[at - 1]]) if at else None,
        after=links.layer(views.slugs[names[at + 1]]) if at + 1 < len(names) else None,
    )


def maps(views: Views, name: str, page: int) -> MapsPage:
    """Return the context of a page of feature maps of a layer, numbered from 1."""
    first = (page - 1) * links.PER_PAGE
    channels = views.atlas[name].channels[first : first + links.PER_PAGE]
    sheets = {DEFAULT_SCALING.value: KINDS[0], **SCALED}
    return MapsPage(
        site=views.site,
        layer=views.layer(name),
        maps=tuple(views.map(name, channel) for channel in channels),
        scales=tuple(
            Scale(
                scale, _SCALES[scale], links.dated(links.sheet(views.slugs[name], page, kind), views.version)
            )
            for scale, kind in sheets.items()
            if channels
        ),
    )


def wall(views: Views, name: str) -> WallPage:
    """Return the context of the wall of a layer."""
    return WallPage(views.site, views.layer(name), tuple(views.cards(name).values()))


def images(views: Views, page: int) -> ImagesPage:
    """Return the context of a page of images, numbered from 1."""
    ids, first = list(views.units), (page - 1) * links.PER_PAGE
    found = tuple(views.image(image_id) for image_id in ids[first : first + links.PER_PAGE])
    pages = tuple(links.images(i + 1) for i in range(links.n_pages(len(ids))))
    return ImagesPage(views.site, found, page, pages)


def classes(views: Views) -> ClassesPage:
    """Return the context of the page of all classes."""
    cards: dict[str, list[Card]] = {label: [] for label in views.labels}
    for name in views.atlas:
        for card in views.cards(name).values():
            if card.purity > MOSTLY:
                cards[card.labels[0].label].append(card)
    files: dict[str, list[tuple[str, str]]] = {label: [] for label in views.labels}
    for image_id, place in views.image_places.items():
        image = views.atlas.images[image_id]
        if image.label in files:
            files[image.label].append((image.path, links.image(place, image_id)))
    found = [
        ClassView(
            number, label, tuple(sorted(cards[label], key=lambda card: -card.purity)), tuple(files[label])
        )
        for label, number in views.labels.items()
    ]
    return ClassesPage(views.site, tuple(found))


def plain(views: Views) -> PlainPage:
    """Return the context of a page that a script fills."""
    return PlainPage(views.site)


def probe(views: Views) -> ProbePage:
    """Return the context of the page that takes an image of one's own."""
    atlas = views.atlas
    layers = tuple(
        ProbeLayer(own.name, views.slugs[own.name], own.shape, own.rules.name, _middles(own))
        for own in atlas.layers
    )
    ids = list(views.units) if views.has_wholes else []
    # evenly spread, so that all classes have a chance
    few = ids if len(ids) <= _PICKS else [ids[i * len(ids) // _PICKS] for i in range(_PICKS)]
    picks = tuple(Pick(f"atlas-{i}", PurePosixPath(atlas.images[i].path).name, views.whole(i)) for i in few)
    return ProbePage(views.site, layers, picks, MOST_BYTES)


def _middles(layer: AtlasLayer) -> tuple[tuple[float, float], ...]:
    """Return down and across the middle of what the first unit sees, and the pixels from one unit to the next."""
    field = layer.receptive_field
    if field is None or field.is_whole or len(layer.shape) == 1:
        return ()
    return tuple((axis.offset + axis.size / 2, float(axis.stride)) for axis in (field.rows, field.cols))


def about(views: Views) -> AboutPage:
    """Return the context of the page on what the atlas is of."""
    atlas = views.atlas
    known, skipped = atlas.preprocessing, atlas.skipped
    if isinstance(known, FunctionPreprocessing):
        first = {"Python function": known.description}
    else:
        first = {"resize": "none" if known.resize is None else str(known.resize)}
    preprocessing = {
        **first,
        "crop": " x ".join(map(str, known.crop)),
        "mean": ", ".join(f"{value:.3g}" for value in known.mean),
        "standard deviation": ", ".join(f"{value:.3g}" for value in known.std),
    }
    studies = tuple((name, "; ".join(words)) for name in atlas if (words := _found(views, name)))
    return AboutPage(
        site=views.site,
        fingerprint=atlas.model.fingerprint,
        input_shape=atlas.model.input_shape,
        preprocessing=preprocessing,
        images_fingerprint=atlas.image_set.fingerprint,
        n_skipped=len(skipped),
        skipped=tuple((own.path, own.reason) for own in skipped[:_FEW_SKIPPED]),
        studies=studies,
    )


def _found(views: Views, name: str) -> list[str]:
    layer = views.layer(name)
    words = [] if layer.evidence is None else [layer.evidence.verdict]
    return words + ([layer.foretelling] if layer.foretelling else [])
