"""What `build` is told, as plain data: other processes and machines read it from a file and make the same plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backlight.cli.parsing import parse_layers, parse_maps
from backlight.errors import BadInputError, first_line
from backlight.storage import replacing

if TYPE_CHECKING:
    from backlight import Network, Plan
    from backlight.engines.ledger import Ledger
    from backlight.operators.ruleset import RuleSet

_FORMAT = 1

DECIDING = (
    "layers", "maps", "top", "rules", "evidence", "seed", "batch_size", "bands", "wholes", "device", "size", "resize",
    "mean", "std", "value_range", "labels",
)  # fmt: skip
"""The options that decide what an atlas holds, to the last bit: those that it keeps with its origin."""


@dataclass(frozen=True)
class BuildOptions:
    """The arguments and flags of `build` that decide what an atlas holds, and how it is computed."""

    model: str
    images: str
    output: str
    weights: str | None
    layers: str
    maps: str
    top: int
    rules: str
    evidence: str | None
    seed: int
    batch_size: int
    compile: str
    bands: bool
    wholes: bool
    device: str
    shard_images: int | None
    size: str | None
    resize: int | None
    mean: str | None
    std: str | None
    value_range: str | None
    labels: str | None = None

    @property
    def default_ledger(self) -> str:
        """Where the files of the scan are kept unless another place is named: beside the atlas."""
        return f"{self.output}.ledger"


def origin_of(options: BuildOptions) -> dict[str, str | None]:
    """Return what an atlas keeps of the command that it was built by: its arguments and the options that decide."""
    from backlight.images.addresses import without_secrets

    given = asdict(options)
    texts = {name: None if given[name] is None else without_secrets(str(given[name])) for name in DECIDING}
    images = without_secrets(options.images)
    return {"model": options.model, "weights": options.weights, "images": images} | texts


@dataclass(frozen=True)
class Planned:
    """A build that can begin.

    Attributes:
        options: What was asked for.
        net: The network.
        plan: The plan.
        by_evidence: The rules of the layers that have evidence, with `--rules best`; None without.
    """

    options: BuildOptions
    net: Network
    plan: Plan
    by_evidence: Mapping[str, RuleSet] | None


def make_plan(options: BuildOptions) -> Planned:
    """Return the network and the plan of a build."""
    from backlight import atlas
    from backlight.cli.models import Overrides, load_network
    from backlight.images import open_images
    from backlight.operators.ruleset import parse_rules

    rules: RuleSet | Mapping[str, RuleSet] = parse_rules(options.rules) if options.evidence is None else {}
    maps, source = parse_maps(options.maps), open_images(options.images)
    overrides = Overrides(options.size, options.resize, options.mean, options.std, options.value_range)
    net = load_network(options.model, options.weights, options.device, overrides)
    by_evidence = None
    if options.evidence is not None:
        rules = by_evidence = atlas.rules_by_evidence(
            atlas.open_atlas(Path(options.evidence)), net.fingerprint()
        )
    compile: Any = options.compile
    plan = atlas.plan_build(
        net,
        source,
        parse_layers(options.layers),
        options.top,
        rules,
        maps=maps,
        seed=options.seed,
        batch_size=options.batch_size,
        compile=compile,
        bands=options.bands,
        wholes=options.wholes,
        shard_images=options.shard_images,
        labels=options.labels,
    )
    return Planned(options, net, plan, by_evidence)


def write_plan(path: Path, made: Planned) -> None:
    """Write what `build` was told, and what the scan is of, so that a change is noticed."""
    from backlight.engines.ledger import ledger_of

    text = json.dumps(
        {
            "backlight plan": _FORMAT,
            "options": asdict(made.options),
            "scan": ledger_of(made.plan, made.options.default_ledger).key,
        },
        indent=2,
    )
    with replacing(path) as (fresh,):
        fresh.write_text(text + "\n")


def read_plan(path: Path) -> tuple[BuildOptions, str]:
    """Return what `write_plan` wrote: the options, and the hash of the scan.

    Raises:
        BadInputError: It cannot be read, or is no plan of this version.
    """
    try:
        found = json.loads(path.read_text())
        if found["backlight plan"] != _FORMAT:
            raise ValueError(f"it has the format {found['backlight plan']}")
        options = found["options"]
        if set(options) != {own.name for own in fields(BuildOptions)}:
            raise ValueError("it was written by another version")
        return BuildOptions(**options), str(found["scan"])
    except OSError as error:
        raise BadInputError(f"cannot read the plan {str(path)!r} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{str(path)!r} is not a plan ({first_line(error)}); `backlight build … --plan {path}` writes one"
        ) from error


def read_planned(path: Path, address: str | None) -> tuple[Planned, Ledger]:
    """Return the build of a plan's file, and its ledger; refuses it if what it speaks of has changed."""
    from backlight.engines.ledger import ledger_of

    options, key = read_plan(path)
    made = make_plan(options)
    ledger = ledger_of(made.plan, address or options.default_ledger)
    if ledger.key != key:
        raise BadInputError(
            f"the weights, the images or what is read of them are not those that {str(path)!r} was written for; "
            "write it again, or bring back what has changed"
        )
    return made, ledger
