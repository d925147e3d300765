"""An atlas cuts no projection: where rules differentiate through gates, the tiles of gated layers are whole images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight import DECONVNET, Network, Preprocessing, build, capture
from backlight.atlas import make_plan
from backlight.images import open_images
from backlight.operators.ruleset import parse_rules
from conftest import make_pictures

GATES_DIFFERENTIATED = parse_rules("deconvnet,gates=vjp")


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.act(y * self.squeeze(y.mean((2, 3), keepdim=True)).sigmoid())


def make_network() -> Network:
    torch.manual_seed(0)
    return capture(Gated().eval(), (3, 16, 16), Preprocessing.default(3, 16))


@pytest.mark.parametrize("rules", [DECONVNET, GATES_DIFFERENTIATED], ids=["held", "differentiated"])
def test_tiles_hold_the_whole_projection(rules: backlight.RuleSet, tmp_path: Path) -> None:
    net, folder = make_network(), make_pictures(tmp_path / "pictures", 2)
    atlas = build(net, folder, tmp_path / "a.atlas", ["act"], 1, rules, maps=[1])
    hit, source = atlas["act"][1].hits[0], open_images(folder)
    image = net.prepare([net.preprocessing.picture(source.load(hit.image_id))])
    (projection,) = backlight.project(net, image, [backlight.Unit("act", 1, hit.row, hit.col)], rules)
    box = hit.tile.box.clip(16, 16)
    assert atlas["act"].receptive_field is None if rules is GATES_DIFFERENTIATED else box.area <= 9
    inside = projection[:, *box.slices()]
    assert inside.count_nonzero() == projection.count_nonzero() > 0


def test_a_plan_bounds_each_layer_by_its_own_rules(tmp_path: Path) -> None:
    source = open_images(make_pictures(tmp_path / "pictures", 2))
    by_layer = {"act": GATES_DIFFERENTIATED}
    conv, act = make_plan(make_network(), source, by_layer, ["conv", "act"]).layers
    assert (conv.receptive_field.size, act.receptive_field) == ((3, 3), None)
    plan = make_plan(make_network(), source, DECONVNET, ["act"])
    assert plan.tile_area(plan.layers[0]) == 9
