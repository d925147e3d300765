"""What the repository says about itself agrees: versions, dependencies, extras, fragments of the changelog, forms."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import backlight

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
# For people who work on the project; `demo` and `bench` need a distribution that no index has.
OURS = {"demo", "examples", "test", "bench", "zoos", "docs", "check"}
ON_CONDA = {"torch": "pytorch", "lazy_loader": "lazy-loader", "matplotlib": "matplotlib-base"}


def read_yaml(path: str) -> dict[str, object]:
    found = yaml.safe_load((ROOT / path).read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_version_is_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "src/backlight/__init__.py"
    assert re.findall(
        r'^__version__ = "(.+)"$', (ROOT / "src/backlight/__init__.py").read_text(), re.MULTILINE
    ) == [backlight.__version__]


def test_who_cannot_read_it_there_says_the_same() -> None:
    assert read_yaml("CITATION.cff")["version"] == backlight.__version__
    assert read_yaml("recipe/recipe.yaml")["context"] == {"version": backlight.__version__}


def test_the_citation_has_what_its_format_requires() -> None:
    """The required keys of CFF 1.2.0, of the file, of its authors and of its references."""
    found = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "software"
    assert found["license"] == PROJECT["license"]
    for reference in found["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert reference["type"] in {"article", "conference-paper"}
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])
    people = [*found["authors"], *(own for reference in found["references"] for own in reference["authors"])]
    assert all(set(own) in ({"name"}, {"family-names", "given-names"}) for own in people)


def test_all_installs_every_extra_that_users_want() -> None:
    (everything,) = EXTRAS["all"]
    named = re.fullmatch(r"backlight\[(.+)\]", everything)
    assert named is not None
    assert set(named[1].split(",")) == set(EXTRAS) - OURS - {"all"}, (
        "add the new extra to `all`, or to OURS here"
    )


def test_the_conda_recipe_needs_what_the_wheel_needs() -> None:
    recipe = read_yaml("recipe/recipe.yaml")
    stated = {tuple(re.split("(?=>=)", own, maxsplit=1)) for own in PROJECT["dependencies"]}
    wanted = {f"{ON_CONDA.get(name, name)} {bound}" for name, bound in stated}
    assert set(recipe["requirements"]["run"]) == wanted | {f"python {PROJECT['requires-python']}"}
    ((program, place),) = PROJECT["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [f"{program} = {place}"]
    assert recipe["about"]["summary"].rstrip(".") in PROJECT["description"].replace(":", ".")


def test_fragments_of_the_changelog_are_well_named() -> None:
    types = [own["directory"] for own in PYPROJECT["tool"]["towncrier"]["type"]]
    assert types == ["added", "changed", "fixed"]
    fragments = [path for path in (ROOT / "changes").iterdir() if path.name != "template.md"]
    for path in fragments:
        assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(types)})\.md", path.name), path.name
        assert path.read_text("utf-8").strip()


def test_the_changelog_has_the_line_below_which_releases_are_added() -> None:
    assert PYPROJECT["tool"]["towncrier"]["start_string"] in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_an_issue_form_asks_something_and_requires_an_answer(name: str) -> None:
    form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    ids = [own["id"] for own in form["body"]]
    assert len(ids) == len(set(ids)) >= 3
    assert any(own.get("validations", {}).get("required") for own in form["body"])


def test_the_public_checks_cover_what_is_promised() -> None:
    workflow = read_yaml(".github/workflows/ci.yml")
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == oldest
    assert len(matrix["python"]) >= 3
    assert {own["os"].split("-")[0] for own in matrix["include"]} == {"ubuntu", "macos", "windows"}
    assert {own["torch"] for own in matrix["include"]} == {"latest", "before"}


def test_the_same_tools_run_before_a_commit_as_in_the_checks() -> None:
    hooks = {
        hook["id"]
        for repository in read_yaml(".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
    }
    assert {"ruff", "ruff-format", "codespell"} <= hooks


def test_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([\w-]+)", page.read_text("utf-8"))}
    assert len(named) > 5
    assert named <= targets


def test_an_installed_copy_says_the_same_version() -> None:
    assert version("backlight") == backlight.__version__


def test_the_page_on_dependencies_has_each_of_them() -> None:
    """Those that are always needed, and the extras of users."""
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
    names = [re.split(">=", own)[0] for own in PROJECT["dependencies"]]
    called = {"torch": "pytorch"}
    rows = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    first = {name.strip(" `") for row in rows for name in re.split(", with |, ", row)}
    assert {called.get(name, name) for name in names} <= first
    assert set(EXTRAS) - OURS <= first
