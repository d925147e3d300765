"""What a shell completes beside commands, options and files: models of the zoos, rule sets, layers of an atlas.

A shell asks at each key, so that nothing here imports PyTorch: the names of the zoos' models are read from their
sources. A function that finds nothing leaves the word to the shell, which completes files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

_VARIABLE = "_BACKLIGHT_COMPLETE"  # with it the shell's script asks

_REGISTERED = {
    "torchvision": re.compile(r'@register_model\((?:name="(\w+)")?\).*?\ndef (\w+)', re.DOTALL),
    "timm": re.compile(r"@register_model()\s*\ndef (\w+)"),
}


def complete_model(incomplete: str) -> list[str]:
    """Return what a model's name can go on with: the zoos, then the names of the zoo that is typed."""
    zoo, colon, _ = incomplete.partition(":")
    zoos = [f"{known}:" for known in _REGISTERED]
    return _shown([f"{zoo}:{name}" for name in zoo_names(zoo)] if colon else [*zoos, "demo"], incomplete)


def complete_rules(incomplete: str) -> list[str]:
    """Return the rule sets, and after a comma their options."""
    from backlight.operators.ruleset import OPTIONS, RULE_SETS

    first, comma, _ = incomplete.rpartition(",")
    return _shown([f"{first},{own}=" for own in OPTIONS] if comma else list(RULE_SETS), incomplete)


def complete_layer(ctx: Any, incomplete: str) -> list[str]:
    """Return the layers of the atlas that was named before; nothing where that is none."""
    from backlight.atlas import open_atlas
    from backlight.errors import BacklightError

    named = ctx.params.get("atlas") or ctx.params.get("source")
    try:
        return _shown(list(open_atlas(named)), incomplete) if named else []
    except BacklightError:
        return []


def zoo_names(zoo: str) -> list[str]:
    """Return the names of a zoo's models, sorted, without importing it; nothing if it is not installed.

    Example:
        >>> "resnet50" in zoo_names("torchvision"), zoo_names("another")
        (True, [])
    """
    spec = find_spec(zoo) if zoo in _REGISTERED else None
    if spec is None or not spec.submodule_search_locations:
        return []
    sources = Path(spec.submodule_search_locations[0], "models").rglob("*.py")
    found = (_REGISTERED[zoo].findall(path.read_text("utf-8", "replace")) for path in sources)
    return sorted({given or function for pairs in found for given, function in pairs})


@contextmanager
def whole_words(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Let bash complete words with a colon: it splits them there, and replaces what stands after the last one."""
    before = join_at_colons(environ)
    if not before:
        yield
        return
    told = StringIO()
    try:
        with redirect_stdout(told):
            yield
    finally:
        print(*(line.removeprefix(before) for line in told.getvalue().splitlines()), sep="\n")


def join_at_colons(environ: MutableMapping[str, str]) -> str:
    """Put words together that bash has split at colons, where bash asks: `torchvision:res` is one word.

    Returns:
        What of the word to be completed stands before the part that bash replaces: `torchvision:`.
    """
    if environ.get(_VARIABLE) != "complete_bash":
        return ""
    words, asked = environ["COMP_WORDS"].split("\n"), int(environ["COMP_CWORD"])
    joined, at = [words[0]], asked
    for index, word in enumerate(words[1:], 1):
        if word.startswith(":") or joined[-1].endswith(":"):
            joined[-1] += word
            at -= index <= asked
        else:
            joined.append(word)
    environ["COMP_WORDS"], environ["COMP_CWORD"] = "\n".join(joined), str(at)
    current = joined[at] if at < len(joined) else ""
    return current[: current.rfind(":") + 1]


def _shown(found: list[str], incomplete: str) -> list[str]:
    return [own for own in found if own.startswith(incomplete)]
