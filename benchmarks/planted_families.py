"""The families of planted networks: for each the detectors, the image, what the unit reads, and what it ignores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from planted_parts import Branches, Residual, conv, matched_filters
from planted_scene import NoRoomError, Scene
from planted_truth import THRESHOLD, Family, Place, Planted


def _two_cells(scene: Scene) -> tuple[Place, Place]:
    first = scene.cell()
    second = scene.cell()
    while second == first:
        second = scene.cell()
    return first, second


def _read_pieces(scene: Scene) -> Planted:
    """Two patterns at two cells; a third one and a copy of the first are distractors.

    The negative weight of inhibition, and the weaker copy in the same window of a max pool, are the only differences
    between the families that share this.
    """
    plan, (a, b, other) = scene.plan, (scene.pattern() for _ in range(3))
    cells = _two_cells(scene)
    places = [scene.in_cell(cell) for cell in cells]
    pieces = [
        scene.show(pattern, place, (c,))
        for c, (pattern, place) in enumerate(zip((a, b), places, strict=True))
    ]
    distractors = []
    if plan.family == "distractors":
        copied = scene.show(a, scene.in_cell(cells[0]), (0,), contrast=0.8)
        distractors.append(copied)
    more = [(other, (2,)), (other, (2,)), (a, (0,))]
    distractors += scene.distract(more, [(0, cells[0]), (1, cells[1])])
    weights = scene.rng.uniform(1, 2, 2)
    if plan.family == "inhibition":
        weights[1] = -weights[0] / 2
    reads = [(c, cell, float(w)) for c, (cell, w) in enumerate(zip(cells, weights, strict=True))]
    detect = matched_filters([a, b, other], THRESHOLD, plan.stride)
    return scene.finish(scene.assemble(detect, reads, bias=-0.01), pieces, distractors)


def _alternatives(scene: Scene) -> Planted:
    """The unit takes a first pattern or a second; the image shows the first only, and perhaps a faint second."""
    plan, (a, b, other) = scene.plan, (scene.pattern() for _ in range(3))
    cells = _two_cells(scene)
    places = [scene.in_cell(cell) for cell in cells]
    piece = scene.show(a, places[0], (0,))
    faint = None
    share = float(scene.rng.uniform(0.5, 2))
    detect = matched_filters([a, b, other], THRESHOLD, plan.stride)
    if not plan.is_low:
        if plan.pool_first:
            faint = scene.show(b, places[1], (1,), contrast=0.4)
        distractors = scene.distract([(other, (2,)), (a, (0,))], [(0, cells[0]), (1, cells[1])])
        model = scene.assemble(detect, [(0, cells[0], 1.0), (1, cells[1], share)], bias=-0.01)
        return scene.finish(model, [piece], distractors, faint)
    # Merged: the first map is what answers to the first pattern, or to the second one beside it.
    beside = -(-plan.pattern // plan.stride) * int(scene.rng.choice([-1, 1]))
    reach = abs(beside)
    if not 0 <= places[0][1] + beside < plan.side:
        raise NoRoomError
    weight = torch.zeros(2, 3, 2 * reach + 1, 2 * reach + 1)
    weight[0, 0, reach, reach], weight[0, 1, reach, reach + beside] = 1.0, share
    weight[1, 2, reach, reach] = 1.0
    low = OrderedDict(merge=conv(weight, padding=reach), merge_relu=nn.ReLU())
    distractors = scene.distract([(other, (2,)), (a, (0,))], [(0, cells[0])])
    model = scene.assemble(detect, [(0, cells[0], 1.0)], bias=-0.01, low=low, n_maps=2)
    return scene.finish(model, [piece], distractors)


def _skip(scene: Scene) -> Planted:
    """The first pattern comes by the identity, the second through the block, which finds it in a 3 x 3 square."""
    plan, (a, b, other) = scene.plan, (scene.pattern() for _ in range(3))
    cells = _two_cells(scene)
    places = [scene.in_cell(cell) for cell in cells]
    pieces = [scene.show(a, places[0], (0,)), scene.show(b, places[1], (1,))]
    # The square of the second may not reach the window of the first.
    if scene.near(places[1], cells[0], margin=1):
        raise NoRoomError
    distractors = scene.distract(
        [(other, (2,)), (a, (0,)), (b, (1,))], [(c, cell) for c in (0, 1) for cell in cells]
    )
    low = OrderedDict(block=Residual(3, around=1, to=0))
    detect = matched_filters([a, b, other], THRESHOLD, plan.stride)
    weights = scene.rng.uniform(1, 2, 2)
    reads = [(0, cell, float(w)) for cell, w in zip(cells, weights, strict=True)]
    return scene.finish(scene.assemble(detect, reads, bias=-0.01, low=low), pieces, distractors)


def _concatenation(scene: Scene) -> Planted:
    """The second pattern is larger than the first, and found by a branch of its own."""
    plan, a, other = scene.plan, scene.pattern(), scene.pattern()
    b = scene.pattern(plan.pattern + 2)
    cells = _two_cells(scene)
    places = [scene.in_cell(cell) for cell in cells]
    pieces = [scene.show(a, places[0], (0,)), scene.show(b, places[1], (2,))]
    distractors = scene.distract([(other, (1,)), (a, (0,)), (b, (2,))], [(0, cells[0]), (2, cells[1])])
    detect = Branches(
        matched_filters([a, other], THRESHOLD, plan.stride),
        matched_filters([b], THRESHOLD, plan.stride, padding=1),
    )
    weights = scene.rng.uniform(1, 2, 2)
    reads = [(c, cell, float(w)) for c, cell, w in zip((0, 2), cells, weights, strict=True)]
    return scene.finish(scene.assemble(detect, reads, bias=-0.01), pieces, distractors)


def _cancellation(scene: Scene) -> Planted:
    """The unit adds a detector of a whole pattern and subtracts one of its upper rows, by weights that just cancel."""
    plan, a, other = scene.plan, scene.pattern(), scene.pattern()
    cell = scene.cell()
    place = scene.in_cell(cell)
    whole = scene.show(a, place, (0, 1))
    n_rows = int(scene.rng.integers(plan.pattern // 3, plan.pattern - 1)) or 1
    upper = a.clone()
    upper[:, n_rows:] = 0.0
    part = whole.clone()
    part[plan.stride * place[0] + n_rows :] = False
    distractors = scene.distract([(other, (2,)), (a, (0, 1))], [(0, cell), (1, cell)])
    detect = matched_filters([a, upper, other], THRESHOLD, plan.stride)
    # A pixel counts 1/n in a filter of n pixels: n_rows/pattern makes both slopes the same.
    reads = [(0, cell, 1.0), (1, cell, -n_rows / plan.pattern)]
    return scene.finish(scene.assemble(detect, reads, bias=-0.01), [part, whole & ~part], distractors)


def _saturation(scene: Scene) -> Planted:
    """The first pattern silences a map that would silence the unit; the unit may read a second one as well."""
    plan, (a, b, other) = scene.plan, (scene.pattern() for _ in range(3))
    cells = _two_cells(scene)
    places = [scene.in_cell(cell) for cell in cells]
    pieces = [scene.show(a, places[0], (0,))]
    pieces += [scene.show(b, places[1], (1,))] if plan.is_low else []
    distractors = scene.distract([(other, (2,)), (a, (0,))], [(0, cells[0]), (1, cells[1])])
    detect = matched_filters([a, b, other], THRESHOLD, plan.stride)
    relays = plan.below + plan.above
    weight = torch.eye(3)[:, :, None, None].clone()
    # A gain of at least 0.5 a level is left of the first pattern's 0.4; a fifth of that silences the map.
    weight[0] *= -1.0
    bias = torch.tensor([0.4 * 0.5**relays / 5, 0.0, 0.0])
    special = OrderedDict(silence=conv(weight, bias), silence_relu=nn.ReLU())
    strength = float(bias[0])
    reads = [(0, cells[0], -1.0 / strength), *([(1, cells[1], 1.0)] if plan.is_low else [])]
    model = scene.assemble(detect, reads, bias=0.5, special=special)
    # The silenced map does not scale with the gains below it, so its weight is not divided by them.
    with torch.no_grad():
        model.unit.weight[0, 0] *= scene.gains.get(0, 1.0)
    return scene.finish(model, pieces, distractors)


BUILDERS: dict[Family, Callable[[Scene], Planted]] = {
    **dict.fromkeys(
        ("max pool", "average pool", "strided convolution", "distractors", "inhibition"), _read_pieces
    ),
    "skip": _skip,
    "concatenation": _concatenation,
    "alternatives": _alternatives,
    "cancellation": _cancellation,
    "saturation": _saturation,
}
