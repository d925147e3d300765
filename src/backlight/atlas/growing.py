"""Growing: a finished atlas that holds a part of a plan gets what it lacks; nothing that it holds is computed again.

What is missing is built in files of its own beside the atlas, as any atlas is, so that a kill loses a step of it at
most. Feature maps of layers that were scanned need no scan: an atlas keeps the state of its own. Projections by other
rules need none either: their hits are known. Then all of it is put together in a fresh file, which takes the atlas's
place (`backlight.atlas.joining`); until then the atlas is untouched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from backlight.atlas.executing import carry_out
from backlight.atlas.file import AtlasFile
from backlight.atlas.joining import join, take_hits
from backlight.atlas.other_rules import rules_of
from backlight.atlas.reader import open_atlas
from backlight.atlas.scanned import kept_scan
from backlight.atlas.writer import AtlasWriter
from backlight.engines.identity import AtlasIdentity, RulesIdentity
from backlight.engines.plan import Plan, Shard, with_rules
from backlight.engines.work import Engine, Partial
from backlight.errors import AtlasError, BadInputError
from backlight.operators.ruleset import RuleSet, as_rules
from backlight.progress import Progress
from backlight.scan import Scan
from backlight.text import counted

Channels = dict[str, tuple[int, ...]]
"""Feature maps of layers, by the layer's name."""


@dataclass(frozen=True)
class Growth:
    """What a plan adds to an atlas.

    Attributes:
        known: The feature maps that the atlas has, by layer.
        more: Those that are added of layers that the atlas has scanned.
        scanned: Those that are added of layers that must be scanned.
        rules: The other rule sets that the atlas will have, each with the feature maps to be projected by it.
    """

    known: Channels
    more: Channels
    scanned: Channels
    rules: tuple[tuple[RulesIdentity, Channels], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is added."""
        return not (self.more or self.scanned or any(maps for _, maps in self.rules))

    def __str__(self) -> str:
        """Return in words what is there and what is added."""
        n_known, n_added = _count(self.known), _count(self.more) + _count(self.scanned)
        parts = [f"{counted(n_known, 'feature map')} there"]
        if n_added:
            parts.append(f"{n_added} added")
        if self.scanned:
            parts.append(f"{counted(len(self.scanned), 'layer')} to scan")
        parts += [f"{_count(maps)} to project by {rules.name}" for rules, maps in self.rules if maps]
        return ", ".join(parts)


def growth(
    plan: Plan, path: Path | str, rules: RuleSet | str | Mapping[str, RuleSet | str] | None = None
) -> Growth | None:
    """Return what a plan adds to the atlas in a file; None where it is not one that holds a part of the plan.

    Args:
        plan: What the atlas shall hold.
        path: The atlas, finished or not.
        rules: By which rules its hits shall be projected beside; by layer name if it differs, DECONVNET for layers not
            named.

    Raises:
        BadInputError: The rules have the name of others that the atlas has.
        UnsupportedOperatorError: An operator has no rule under these rules.
    """
    file, identity = _opened(Path(path))
    if file is None or identity is None:
        return None
    with closing(file):
        if not _is_part(identity, plan):
            return None
        known = dict(identity.selection.channels)
        lacking = {
            layer.name: tuple(sorted(set(channels) - set(known.get(layer.name, ()))))
            for layer, channels in zip(plan.layers, plan.channels, strict=True)
        }
        lacking = {name: channels for name, channels in lacking.items() if channels or name not in known}
        has_scan = bool(file.group("scan")[0]) or file.phase == "scan"
        more = {name: channels for name, channels in lacking.items() if name in known and has_scan}
        scanned = {name: own for name, own in lacking.items() if name not in more}
        its = rules_of(file, list(known))
    kept = [(own, lacking) for own in its]
    if rules is not None:
        asked = plan.under(as_rules(rules))
        wanted = asked.rules_identity
        if not any(_is_same(own, wanted, known) for own in (identity.rules, *its)):
            if wanted.name in {own.name for own in (identity.rules, *its)}:
                raise BadInputError(
                    f"{Path(path).name} has other rules by the name {wanted.name!r}; give these another"
                )
            asked.check_rules()
            kept.append((wanted, dict(plan.identity.selection.channels)))
    found = Growth(known, more, scanned, tuple(kept))
    return None if found.is_empty else found


def widened(plan: Plan, path: Path) -> Plan:
    """Return a plan with everything that an atlas has, where that is all of the plan and more; as it is elsewhere."""
    file, identity = _opened(path)
    if file is None or identity is None:
        return plan
    file.close()
    known, rules = identity.selection.channels, identity.rules
    for layer, channels, rule in zip(plan.layers, plan.channels, plan.rules, strict=True):
        if not set(channels) <= set(known.get(layer.name, ())) or layer.name not in known:
            return plan
        if rules.of(layer.name) != rule:
            return plan
    chosen = tuple(layer for layer in plan.net.layers if layer.name in known)
    if len(chosen) != len(known):
        return plan
    layers, own = with_rules(plan.net, chosen, rules.everywhere or rules.by_layer)
    whole = replace(plan, layers=layers, channels=tuple(known[y.name] for y in layers), rules=own)
    return whole if _is_part(identity, whole) else plan


def grow(plan: Plan, path: Path, found: Growth, engine: Engine, progress: Progress) -> None:
    """Give an atlas what it lacks of a plan; arguments and errors are those of `building.execute`.

    Args:
        plan: What the atlas shall hold.
        path: The atlas, finished or not; locked.
        found: What is added.
        engine: Who does it.
        progress: As for `execute`; `join` while all is put together.
    """
    # What was begun is finished first; a plan of it with the atlas's settings and parts comes back.
    own = carry_out(_of(plan, found.known), path, engine, progress)
    settled = replace(plan, settings=own.settings, bands=own.bands, wholes=own.wholes)
    sides = []
    for channels, ending in ((found.more, "more"), (found.scanned, "layers")):
        if channels:
            sides.append(_beside(path, ending))
            with _begun(_of(settled, channels), sides[-1], path) as writer:
                if ending == "more":
                    _take_scan(writer, path)
            carry_out(_of(settled, channels), sides[-1], engine, progress)
    others = []
    for i, (rules, channels) in enumerate(found.rules):
        if channels:
            by_others = _of(settled, channels).under(rules.everywhere or rules.by_layer)
            part = replace(by_others, bands=False, wholes=False)  # for the hits alone
            others.append(_beside(path, f"rules{i}"))
            with _begun(part, others[-1], path) as writer:
                take_hits(writer, [path, *sides])
            carry_out(part, others[-1], engine, progress)
    join(settled, path, sides, others, progress)
    for side in (*sides, *others):
        with suppress(OSError):
            side.unlink()


def _opened(path: Path) -> tuple[AtlasFile | None, AtlasIdentity | None]:
    """Return the atlas in a file and what it is of; None where there is none, or the writer will say what is wrong."""
    try:
        file = AtlasFile(path)
    except AtlasError:
        return None, None
    try:
        return file, file.identity()
    except AtlasError:
        file.close()
        return None, None


def _is_part(stored: AtlasIdentity, plan: Plan) -> bool:
    """Return whether an atlas is of the same as a plan, and holds no more than it."""
    # As it would be read back: lists and tuples, whole numbers and floats are one in JSON.
    asked = AtlasIdentity.from_dict(json.loads(plan.identity.to_json()))
    one, other = stored.selection, asked.selection
    if one.top != other.top or replace(asked, rules=stored.rules, selection=one) != stored:
        return False
    holds_no_more = all(set(own) <= set(other.channels.get(name, ())) for name, own in one.channels.items())
    has_layers = set(one.channels) <= set(other.channels)
    return has_layers and holds_no_more and _is_same(stored.rules, asked.rules, one.channels)


def _is_same(one: RulesIdentity, other: RulesIdentity, layers: Iterable[str]) -> bool:
    """Return whether two rules are the same in some layers."""
    if (one.everywhere is None) != (other.everywhere is None):
        return False
    return all(one.of(layer) == other.of(layer) for layer in layers)


def _of(plan: Plan, channels: Mapping[str, tuple[int, ...]]) -> Plan:
    """Return the plan of some layers only, with some feature maps of each."""
    at = [i for i, layer in enumerate(plan.layers) if layer.name in channels]
    layers = tuple(plan.layers[i] for i in at)
    chosen = tuple(channels[layer.name] for layer in layers)
    return replace(plan, layers=layers, channels=chosen, rules=tuple(plan.rules[i] for i in at))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


@contextmanager
def _begun(part: Plan, side: Path, path: Path) -> Iterator[AtlasWriter]:
    """Begin the file of a part, or resume it; says what to do with the file of something else."""
    try:
        writer = AtlasWriter(side, part)
    except AtlasError as error:
        raise AtlasError(
            f"an extension of {str(path)!r} that was begun lies in {str(side)!r} and cannot be resumed by this one "
            f"({error}); ask for the same as then, or delete that file"
        ) from error
    with closing(writer):
        yield writer


def _take_scan(writer: AtlasWriter, path: Path) -> None:
    """Begin a file with the scan of an atlas, unless it has begun."""
    if writer.phase != "scan":
        return
    with closing(open_atlas(path)) as atlas:
        scan = kept_scan(atlas)
        if scan is None:
            raise AtlasError(f"{str(path)!r} keeps no scan; build it again under another name")
        plan, settings = writer.plan, writer.plan.settings
        own = Scan({layer.name: scan.layers[layer.name] for layer in plan.layers}, scan.skipped)
        sizes = {image_id: image.size for image_id, image in atlas.images.items()}
    writer.save_scan(own, plan.n_images, Partial(Shard(0, plan.n_images), own, sizes, settings.compiled))


def _count(channels: Channels) -> int:
    return sum(map(len, channels.values()))
