"""The build: what an atlas holds equals what the parts compute (`tests/kills`: killed, it resumes to the same rows)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from atlas.files import GATES_DIFFERENTIATED, gated_network, make_earlier, make_network, rows
from atlas.grown import SMALL, phases_of
from backlight import DECONVNET, GRADIENT, Preprocessing, build, capture, open_atlas, project
from backlight.atlas import Stability
from backlight.errors import (
    AtlasError,
    BacklightWarning,
    BadInputError,
    NoImageError,
    UnsupportedOperatorError,
)
from backlight.images import open_images
from backlight.operators.ruleset import RuleSet
from conftest import SmallNet, make_pictures


def test_hits_are_the_strongest_and_their_tiles_are_the_projections(
    atlas: backlight.Atlas, picture_folder: Path
) -> None:
    net, source = make_network(), open_images(picture_folder)
    pictures = [net.preprocessing.picture(source.load(i)) for i in range(len(source))]
    inputs = net.preprocessing.normalise(pictures)
    feature_map = atlas["relu2"][3]
    maxima = backlight.projection.activations(net, inputs, net.layer("relu2"))[:, 3].flatten(1).amax(1)
    assert [h.image_id for h in feature_map.hits] == maxima.argsort(descending=True)[:4].tolist()
    assert feature_map.max == pytest.approx(maxima.max().item())
    assert feature_map.active_share == pytest.approx((maxima > 0).float().mean().item())
    for hit in feature_map.hits:
        assert hit.value == pytest.approx(maxima[hit.image_id].item(), rel=1e-5)
        whole = project(net, inputs[hit.image_id], [backlight.Unit("relu2", 3, hit.row, hit.col)])[0]
        inside = hit.box.clip(32, 32)
        expected = whole.permute(1, 2, 0)[inside.top : inside.bottom, inside.left : inside.right].numpy()
        assert hit.projection_values.shape == expected.shape
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(hit.projection_values, expected, atol=np.abs(expected).max() / 100)
        assert whole.abs().sum().item() == pytest.approx(
            np.abs(expected).sum(), rel=1e-4
        )  # nothing lies outside of the box
        patch = np.asarray(pictures[hit.image_id])[inside.top : inside.bottom, inside.left : inside.right]
        assert np.asarray(hit.patch).shape == patch.shape
        assert np.abs(np.asarray(hit.patch, int) - patch).mean() < 12
        assert source.records[hit.image_id].path == atlas.images[hit.image_id].path
        assert atlas.images[hit.image_id].label in ("a", "b")
        assert atlas.images[hit.image_id].size == (40, 48)


def test_the_stability_of_every_map_is_that_of_its_scan(tmp_path: Path, picture_folder: Path) -> None:
    net, path = make_network(), tmp_path / "a.atlas"
    found = build(net, picture_folder, path, ["relu2", "fc"], top=4, maps=2, batch_size=8, compile="off")
    scanned = backlight.scan(net, str(picture_folder), ["relu2", "fc"], top=4, batch_size=32, compile="off")
    for layer in found.layers:
        n, of = scanned.layers[layer.name].halves.stability() or ([], [])
        assert len(set(n)) > 1
        own = [layer[channel].stability for channel in layer]  # of maps that were not projected, too
        assert own == [Stability(int(a), int(b)) if b else None for a, b in zip(n, of, strict=True)]


def test_fully_connected_hits_have_no_place_and_show_the_whole_image(atlas: backlight.Atlas) -> None:
    hits = [hit for channel in range(5) for hit in atlas["fc"][channel].hits]
    assert hits
    assert all(hit.row is None and hit.box == backlight.Box(0, 0, 32, 32) for hit in hits)


def test_a_dead_map_has_no_hits_and_says_so(tmp_path: Path, picture_folder: Path) -> None:
    torch.manual_seed(0)
    model = SmallNet()
    with torch.no_grad():
        model.conv2.bias[7] = -1e6
    net = capture(model, (3, 32, 32), Preprocessing.default(3, 32))
    built = build(net, picture_folder, tmp_path / "dead.atlas", ["relu2"])
    assert built["relu2"][7].dead
    assert built["relu2"][7].hits == ()
    assert not built["relu2"][0].dead
    assert built.figure("relu2", [7]).width > 100


def test_maps_are_drawn_by_the_seed_and_know_nothing_of_the_images(
    tmp_path: Path, picture_folder: Path
) -> None:
    other = make_pictures(tmp_path / "other", 3)
    drawn = {
        (seed, images.name): build(
            make_network(),
            images,
            tmp_path / f"{seed}{images.name}.atlas",
            ["relu2"],
            maps=5,
            seed=seed,
            top=1,
        )["relu2"].channels
        for seed in (0, 1)
        for images in (picture_folder, other)
    }
    assert drawn[0, "pictures"] == drawn[0, "other"]
    assert drawn[0, "pictures"] != drawn[1, "pictures"]
    assert len(drawn[0, "pictures"]) == 5


def test_a_bad_picture_never_ends_a_run_and_is_said(tmp_path: Path, picture_folder: Path) -> None:
    (picture_folder / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff truncated")
    with pytest.warns(BacklightWarning, match=r"1 of 41 pictures could not be read, the first: a/bad\.jpg: "):
        built = build(make_network(), picture_folder, tmp_path / "bad.atlas", ["relu2"])
    assert repr(built).endswith("41 images, 1 of them left out)")
    assert built.n_scanned == 40
    assert [s.path for s in built.skipped] == ["a/bad.jpg"]
    assert built.skipped[0].reason


def test_a_set_of_which_nothing_can_be_read_leaves_no_atlas(tmp_path: Path) -> None:
    # values above 1, as somebody gives who forgot to divide by 255
    images, path = [np.full((40, 40, 3), 200.0)] * 3, tmp_path / "none.atlas"
    with pytest.raises(
        NoImageError, match=r"none of the 3 pictures of 'memory' could be read, the first: image 0: "
    ):
        build(make_network(), images, path, ["relu2"])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoImageError, match="the picture of 'memory' could not be read: image 0: "):
        build(make_network(), images[:1], path, ["relu2"])


# Where rules differentiate through gates, a projection fills the whole image, and so do the tiles.
@pytest.mark.parametrize("rules", [DECONVNET, GATES_DIFFERENTIATED], ids=["held", "differentiated"])
def test_tiles_hold_the_whole_projection(rules: backlight.RuleSet, tmp_path: Path) -> None:
    net, folder = gated_network(), make_pictures(tmp_path / "pictures", 2)
    atlas = build(net, folder, tmp_path / "a.atlas", ["act"], 1, rules, maps=[1])
    hit, source = atlas["act"][1].hits[0], open_images(folder)
    image = net.prepare([net.preprocessing.picture(source.load(hit.image_id))])
    (projection,) = backlight.project(net, image, [backlight.Unit("act", 1, hit.row, hit.col)], rules)
    box = hit.tile.box.clip(16, 16)
    assert atlas["act"].receptive_field is None if rules is GATES_DIFFERENTIATED else box.area <= 9
    inside = projection[:, *box.slices()]
    assert inside.count_nonzero() == projection.count_nonzero() > 0


def test_a_finished_atlas_is_left_alone(atlas: backlight.Atlas, picture_folder: Path) -> None:
    before = atlas.path.read_bytes()
    steps: list[str] = []
    build(make_network(), picture_folder, atlas.path, ["relu1", "relu2", "fc"], top=4, batch_size=16,
          progress=lambda phase, *_: steps.append(phase))  # fmt: skip
    assert atlas.path.read_bytes() == before
    assert steps == []


def test_a_moved_image_set_may_go_on(atlas: backlight.Atlas, picture_folder: Path, tmp_path: Path) -> None:
    moved = picture_folder.rename(tmp_path / "moved")
    assert build(make_network(), moved, atlas.path, ["relu1", "relu2", "fc"], top=4).phase == "done"


def test_a_second_build_of_a_file_is_refused_before_any_work(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlight.storage.locking.PATIENCE_S", 0.0)
    net, path, raised = make_network(), tmp_path / "a.atlas", []

    def second(*_: object) -> None:
        with ThreadPoolExecutor(1) as pool:
            raised.append(str(pool.submit(build, net, picture_folder, path, ["relu1"], 1).exception()))

    build(net, picture_folder, path, ["relu1"], top=1, progress=second)
    assert "a.atlas' is being written by process" in raised[0]
    assert [own.name for own in tmp_path.iterdir() if own.is_file()] == ["a.atlas"]


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file", b"x" * 9000, b"SQLite format 3\0" + bytes(90)]
)
def test_a_file_that_is_no_atlas_is_left_as_it_is(
    tmp_path: Path, picture_folder: Path, content: bytes
) -> None:
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match="exists and is not an atlas; it was not changed"):
        build(make_network(), picture_folder, path)
    assert path.read_bytes() == content
    assert list(tmp_path.glob("thesis*")) == [path]
    with pytest.raises(AtlasError, match="is not an atlas"):
        open_atlas(path)


def test_a_network_without_preprocessing_is_refused(small_net, picture_folder, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match="captured without preprocessing"):
        build(capture(small_net, (3, 32, 32)), picture_folder, tmp_path / "a.atlas")
    assert not (tmp_path / "a.atlas").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 100_001}, "top is at most 100000"),
        ({"rules": RuleSet("a\x1b[2J")}, "names of at most 1000 printable"),
    ],
)
def test_what_no_reader_would_read_is_not_begun(
    tmp_path: Path, picture_folder: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        backlight.build(make_network(), picture_folder, tmp_path / "a.atlas", ["relu1"], **change)
    assert not (tmp_path / "a.atlas").exists()


class _NoDerivative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return torch.relu(x + torch.special.airy_ai(x))


def test_what_cannot_be_projected_is_refused_before_the_scan(tmp_path: Path, picture_folder: Path) -> None:
    net = capture(_NoDerivative(), (3, 32, 32), Preprocessing.default(3, 32))
    seen: list[str] = []
    with pytest.raises(UnsupportedOperatorError, match=r"^PyTorch has no derivative of special_airy_ai"):
        build(
            net,
            picture_folder,
            tmp_path / "a.atlas",
            rules=GRADIENT,
            progress=lambda phase, *_: seen.append(phase),
        )
    assert not seen
    assert not (tmp_path / "a.atlas").exists()


def test_parts_that_are_added_later_are_as_if_asked_for_at_once(tmp_path: Path, picture_folder: Path) -> None:
    whole, path = tmp_path / "whole.atlas", tmp_path / "a.atlas"
    assert phases_of(whole, picture_folder, bands=True) == ["scan", "certify", "project", "band", "light"]
    assert phases_of(path, picture_folder, wholes=False) == ["scan", "certify", "project"]
    assert rows(path)["picture"] == rows(path)["activation"] == []
    assert rows(path)["band"] != rows(whole)["band"]
    assert phases_of(path, picture_folder, bands=True, wholes=False) == ["band"]
    assert rows(path)["band"] == rows(whole)["band"]
    assert phases_of(path, picture_folder) == ["light"]  # the bands that it has are kept
    assert rows(path) == rows(whole)
    assert phases_of(path, picture_folder, wholes=False) == []
    other = tmp_path / "other.atlas"
    assert phases_of(other, picture_folder) == ["scan", "certify", "project", "light"]
    n_wholes = len(rows(other)["picture"])
    assert phases_of(other, picture_folder, bands=True) == ["band", "light"]
    assert n_wholes < len(rows(other)["picture"])
    assert rows(other) == rows(whole)
    assert backlight.atlas.verify(other).is_sound


@pytest.mark.parametrize("version", [1, 2])
def test_an_atlas_of_an_earlier_version_stays_as_it_is(
    tmp_path: Path, picture_folder: Path, version: int
) -> None:
    path = tmp_path / "a.atlas"
    phases_of(path, picture_folder)
    make_earlier(path, version)
    before = path.read_bytes()
    assert phases_of(path, picture_folder) == []
    with pytest.raises(
        AtlasError, match="begun by an earlier version, whose atlases have no examples of bands; it was not"
    ):
        build(make_network(), picture_folder, path, **SMALL, bands=True)
    assert path.read_bytes() == before
    assert backlight.atlas.verify(path).is_sound
