"""`backlight demo`: the demo's model and photographs, to an atlas and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backlight.cli.output import console, progress_bars, say
from backlight.cli.writing import write_picture
from backlight.storage import check_folder, make_folder

_LAYERS = [
    "relu0",
    *(f"group{g}.{b}.relu2" for g, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for b in range(0, n, 2)),
]
_FIGURES = ("relu0", "group1.2.relu2", "group2.2.relu2", "group3.4.relu2", "group4.2.relu2")
_MAPS = 6
_BY_EVIDENCE_GUIDED = ("group3", "group4")
"""Where guided backpropagation shows more of what matters in this network than the deconvnet (docs/evidence.md)."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")] = Path(
        "demo-output"
    ),
) -> None:
    """Build an atlas of the embedded model over the embedded photographs, and draw figures from it."""
    check_folder(output)
    from backlight import atlas
    from backlight.cli.models import load_network
    from backlight.images import CropSource, open_images
    from backlight.operators.ruleset import GUIDED

    net = load_network("demo", None)
    import backlight_demo

    source = CropSource(open_images(backlight_demo.photographs()))
    make_folder(output)
    path = output / "demo.atlas"
    console.print(
        f"dlib's ResNet-34 over {len(source)} crops of {len(source) // 5} photographs: "
        f"a random sample of {_MAPS} feature maps of each of {len(_LAYERS)} layers"
    )
    with progress_bars() as progress:
        guided = {layer: GUIDED for layer in _LAYERS if layer.startswith(_BY_EVIDENCE_GUIDED)}
        built = atlas.build(net, source, path, _LAYERS, maps=_MAPS, rules=guided, progress=progress)
    written = [path]
    for layer in _FIGURES:
        written.append(output / f"{layer}.png")
        write_picture(built.figure(layer), written[-1])
    written += [output / "filters.png", output / f"{_FIGURES[2]}-superposed.png"]
    write_picture(built.filters_figure("relu0"), written[-2])
    write_picture(built.superposed(_FIGURES[2]), written[-1])
    console.print()
    console.print(
        "Each figure shows feature maps: their strongest activations projected back to pixels, and the patches. "
        "Groups 3 and 4 by guided backpropagation, which the evidence favours there; the layers below by the deconvnet."
    )
    for file in written:
        say("  {}", file)
    console.print("Photographs: see ATTRIBUTION.md of backlight-demo for authors and licences.")
