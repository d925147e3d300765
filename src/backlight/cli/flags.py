"""Flags that several commands share. Importing this takes no PyTorch: help is answered at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from backlight.cli.completing import complete_layer, complete_model, complete_rules
from backlight.render.scaling import Scaling

_PREPROCESSING = "Preprocessing (overrides the model's defaults)"

# A test holds this equal to `backlight.models.FORMS`, which cannot be imported without PyTorch.
MODEL_FORMS = (
    "torchvision:NAME, timm:NAME, hf:FOLDER or hf:NAME (transformers), package.module:callable, "
    "path/file.py:callable, a .pt2 file, or demo; "
    "MODEL#backbone selects a part of it"
)
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"The model: {MODEL_FORMS}.", autocompletion=complete_model)
]
ImagesArgument = Annotated[
    str, typer.Argument(metavar="IMAGES", help="A folder, a list file, tar shards, a saved dataset.")
]
PicturesArgument = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="One or more pictures.")]
AtlasArgument = Annotated[
    Path, typer.Argument(metavar="ATLAS", help="An atlas that `backlight build` wrote.")
]
LayerArgument = Annotated[
    str, typer.Argument(metavar="LAYER", help="A layer of the atlas.", autocompletion=complete_layer)
]
OwnModel = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="As for `build`; defaults to the model that the atlas was built with.",
        autocompletion=complete_model,
    ),
]
OwnImages = Annotated[
    str | None,
    typer.Argument(
        metavar="IMAGES", help="As for `build`; defaults to the images that the atlas was built with."
    ),
]

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="A .safetensors file, a saved state dict or a checkpoint; DEFAULT downloads the zoo's own.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]
RULES_HELP = "deconvnet, guided, gradient or masked; with options such as deconvnet,unpool=assign-largest."
ShownRules = Annotated[
    str | None,
    typer.Option(
        "--rules",
        metavar="RULES",
        help="Show projections by another rule set of the atlas, which `extend --rules` has added.",
    ),
]
Rules = Annotated[str, typer.Option("--rules", help=RULES_HELP, autocompletion=complete_rules)]
SeedValue = Annotated[
    str,
    typer.Option(
        "--seed-value",
        help="What is projected back from the unit: `activation`, its own, or a number; 1 shows what raises a unit "
        "whose activation is negative.",
    ),
]
Goal: TypeAlias = Literal["invert", "caricature", "maximise"]
"""What `invert` searches for."""
RandomSeed = Annotated[int, typer.Option("--seed", help="Random seed.")]

ENGINES = "Several processes or machines"
PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A file that `backlight build … --plan FILE` wrote.")
]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine", help="Who does the work: this process, or a Ray cluster.", rich_help_panel=ENGINES
    ),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Of the Ray cluster: auto, HOST:6379; none begins one on this machine.",
        rich_help_panel=ENGINES,
    ),
]
Stations = Annotated[
    int | None,
    typer.Option(
        "--stations", help="Processes that Ray runs; as many as there is room for.", rich_help_panel=ENGINES
    ),
]
StationCpus = Annotated[int, typer.Option("--cpus", help="CPUs of each of them.", rich_help_panel=ENGINES)]
StationGpus = Annotated[
    float,
    typer.Option("--gpus", help="GPUs of each of them: 1, or 0.5 for two on one.", rich_help_panel=ENGINES),
]
LedgerAddress = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="ADDRESS",
        help="Where the files of the scan are kept meanwhile: a folder or an address such as s3://bucket/run.",
        rich_help_panel=ENGINES,
    ),
]
KeepLedger = Annotated[
    bool,
    typer.Option(
        "--keep-ledger",
        help="Keep those files: other rules or maps need no new scan.",
        rich_help_panel=ENGINES,
    ),
]

Size = Annotated[
    str | None, typer.Option("--size", help="Input size, 224 or 224x320.", rich_help_panel=_PREPROCESSING)
]
Resize = Annotated[
    int | None,
    typer.Option("--resize", help="Short side before the centre crop.", rich_help_panel=_PREPROCESSING),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        help="Mean of each channel, of values in 0..1: 0.5 or 0.48,0.46,0.41.",
        rich_help_panel=_PREPROCESSING,
    ),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="Standard deviation of each channel.", rich_help_panel=_PREPROCESSING),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="The stored values that are black and white: 0,4095 for 12 bits in 16-bit files.",
        rich_help_panel=_PREPROCESSING,
    ),
]

Channel = Annotated[
    int | None, typer.Option("--channel", help="The feature map; defaults to the strongest of the layer.")
]
Row = Annotated[
    int | None, typer.Option("--row", help="Row of the unit; defaults to that of the strongest unit.")
]
Col = Annotated[
    int | None, typer.Option("--col", help="Column of the unit; defaults to that of the strongest unit.")
]
Channels = Annotated[
    str | None, typer.Option("--channels", "--maps", help="Feature maps to show, such as 3,17 or 0-31.")
]
AtlasLayers = Annotated[
    str, typer.Option("--layers", help="Layers of the atlas, separated by commas, or all.")
]
AllMaps = Annotated[
    str, typer.Option("--maps", help="Feature maps per layer: a random sample of N, a list, or all.")
]
Top = Annotated[int, typer.Option("--top", help="Hits per feature map.")]
ScalingName = Annotated[Scaling, typer.Option("--scaling", help="How values become colours.")]
FullField = Annotated[
    bool,
    typer.Option("--full-field", help="Draw whole receptive fields, not only where the projections are."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Names of the classes: a file with one on each line, JSON (a list, or names by label), or imagenet.",
    ),
]
ClassOutput = Annotated[
    str | None,
    typer.Option(
        "--class-output",
        help="The output that gives the class, by name or position, where there are several.",
    ),
]
HowMany = Annotated[
    int | None, typer.Option("--images", help="Use a random sample of N images; defaults to all.")
]
Batch = Annotated[int, typer.Option("--batch", help="Images at a time.")]

Beside = Annotated[
    Path | None,
    typer.Option(
        "--beside", help="Another atlas of the same architecture and images: its maps are shown beside."
    ),
]
Evolution = Annotated[
    Path | None,
    typer.Option(
        "--evolution",
        help="What `backlight evolve` wrote: the pages of its feature maps show them step by step.",
    ),
]
Diagnosis = Annotated[
    Path | None,
    typer.Option(
        "--diagnosis", help="What `backlight diagnose --save` wrote: adds a page of what was found."
    ),
]
Opens = Annotated[bool, typer.Option("--open/--no-open", help="Open the result in the browser.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The figure to write (.png, .webp, .pdf, .svg, .jpg); defaults to a new .png named by what it shows.",
    ),
]
PlotOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The figure to write (.png, .webp, .pdf, .svg, .jpg)."),
]
SaveStem = Annotated[
    Path | None, typer.Option("--save", help="Also write the numbers: to SAVE.json and SAVE.npz.")
]
SampledMaps = Annotated[
    str, typer.Option("--maps", help="Feature maps per layer: a random sample of N, or all.")
]
StudiedHits = Annotated[int, typer.Option("--hits", help="Hits of each map, the strongest first.")]
