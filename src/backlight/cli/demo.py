"""`backlight demo`: the demo's model and photographs, to an atlas and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import console, has_browser, progress_bars, say
from backlight.cli.writing import write_figure
from backlight.storage import check_folder, make_folder

if TYPE_CHECKING:
    from backlight.operators.ruleset import RuleSet

_LAYERS = [
    "relu0",
    *(f"group{g}.{b}.relu2" for g, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for b in range(0, n, 2)),
]
MAPS = 6
SHOWN: dict[str, list[int]] = {
    "relu0": [1, 9, 13, 43, 44, 61],
    "group1.2.relu2": [6, 19, 25, 40, 43, 56],
    "group2.2.relu2": [85, 98, 102, 104, 109, 116],
    "group3.4.relu2": [148, 182, 210, 216, 223, 242],
    "group4.2.relu2": [49, 345, 358, 369, 390, 502],
}
"""The layers that are drawn, and which maps: of 24 drawn at random, the six whose pictures have the best evidence.

`benchmarks/demo_maps.py` measures it.
"""

_BY_EVIDENCE_GUIDED = ("group3", "group4")
"""Where guided backpropagation shows more of what matters in this network than the deconvnet (docs/evidence.md)."""


def rules_of(layers: Sequence[str]) -> dict[str, RuleSet]:
    """Return the rule sets of layers that the demo does not draw by the deconvnet."""
    from backlight.operators.ruleset import GUIDED

    return {layer: GUIDED for layer in layers if layer.startswith(_BY_EVIDENCE_GUIDED)}


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")] = Path(
        "demo-output"
    ),
    opens: flags.Opens = True,
) -> None:
    """Build an atlas, figures and a site from the embedded model.

    Nothing is downloaded: the weights and the photographs come with the package backlight-demo.
    """
    check_folder(output)
    from backlight import atlas
    from backlight.cli.models import load_network
    from backlight.images import CropSource, open_images
    from backlight.studies.side_by_side import side_by_side
    from backlight.web import export

    net = load_network("demo", None)
    import backlight_demo

    source = CropSource(open_images(backlight_demo.photographs()))
    make_folder(output)
    path, guided = output / "demo.atlas", rules_of(_LAYERS)
    console.print(
        f"dlib's ResNet-34 over {len(source)} crops of {len(source) // 5} photographs: "
        f"{MAPS} feature maps of each of {len(_LAYERS)} layers"
    )
    with progress_bars() as progress:
        maps = dict.fromkeys(_LAYERS, MAPS) | SHOWN
        built = atlas.build(net, source, path, _LAYERS, maps=maps, rules=guided, progress=progress)
        figures = {
            layer: side_by_side(built, net, source, layer, progress=progress)
            if layer in guided
            else built.figure(layer)
            for layer in SHOWN
        }
    middle = list(SHOWN)[2]
    figures |= {"filters": built.filters_figure("relu0"), f"{middle}-superposed": built.superposed(middle)}
    for name, picture in figures.items():
        write_figure(picture, output / f"{name}.png")
    with progress_bars(resumes=False) as progress:
        site = export(built, output / "site", progress=progress)
    console.print()
    console.print(
        "Each figure shows feature maps: their strongest activations projected back to pixels, and the patches. "
        "The maps are those with the best evidence of 24 drawn at random. Groups 3 and 4 by guided "
        "backpropagation, which the evidence favours there, beside the deconvnet; the layers below by the deconvnet."
    )
    for file in (path, *(output / f"{name}.png" for name in figures), site.index):
        say("  {}", file)
    console.print("Photographs: see ATTRIBUTION.md of backlight-demo for authors and licences.")
    if opens and has_browser():
        import webbrowser

        webbrowser.open(site.index.absolute().as_uri())
