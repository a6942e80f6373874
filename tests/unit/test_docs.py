"""What README, guide and the other texts say is so: links, commands, variables, names, the example rule."""

from __future__ import annotations

import ast
import importlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from support.telemetry import clear_telemetry

from trueline.monitor.api.reference import reference
from trueline.monitor.cli import build_cli
from trueline.monitor.engine.load import load_rule, load_rules
from trueline.monitor.engine.rule_tests import run_rule_tests
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store

ROOT = Path(__file__).parents[2]
TEXTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/index.md")),
    *sorted((ROOT / "docs/guide").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
BY_NAME = pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(text.read_text()) if name == language]


def anchors(text: Path) -> set[str]:
    """Anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@BY_NAME
def test_links_lead_somewhere(text: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", text.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (text.parent / name).resolve() if name else text
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def commands(app: typer.Typer) -> set[str]:
    """Every command as it is typed, groups with their sub-commands."""
    root = typer.main.get_command(app)
    found = set()
    for name, command in getattr(root, "commands", {}).items():
        found.add(name)
        found |= {f"{name} {below}" for below in getattr(command, "commands", {})}
    return found


@BY_NAME
def test_commands_exist(text: Path) -> None:
    known = commands(build_cli())
    groups = {name.split()[0] for name in known if " " in name}
    shell = "\n".join(blocks(text, "sh") + re.findall(r"`([^`\n]+)`", FENCE.sub("", text.read_text())))

    for name, below in re.findall(r"(?:^|[ `])trueline ([a-z][a-z-]+)(?: ([a-z]+)\b)?", shell, re.MULTILINE):
        assert name in known, f"trueline {name}"
        if below and name in groups:
            assert f"{name} {below}" in known, f"trueline {name} {below}"


@BY_NAME
def test_make_targets_exist(text: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for words in re.findall(r"(?:^|[ `$])make ([a-z][^#`\n]*)", text.read_text(), re.MULTILINE):
        if text.name == "README.md" or text.name == "CONTRIBUTING.md":
            mentioned = [word for word in words.split() if "=" not in word]
            assert set(mentioned) <= targets, words


def known_variables() -> set[str]:
    """Variables of the monitor, and those that the instrumentation and the tests' store name."""
    paths = [*(ROOT / "instrumentation").rglob("*.py"), ROOT / "tests/support/store_fixtures.py"]
    source = "".join(path.read_text() for path in paths)
    read = set(re.findall(r'"(TRUELINE_[A-Z_]+)"', source))
    return read | {f"TRUELINE_{name.upper()}" for name in Settings.model_fields}


@BY_NAME
def test_variables_exist(text: Path) -> None:
    assert set(re.findall(r"\bTRUELINE_[A-Z_]+\b", text.read_text())) <= known_variables()


@BY_NAME
def test_python_examples_import_what_is_there(text: Path) -> None:
    for block in blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("trueline"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert alias.name in getattr(module, "__all__", dir(module)), (
                        f"{node.module}.{alias.name}"
                    )


def test_readme_begins_with_the_two_commands() -> None:
    first = [line.split("#")[0].strip() for line in blocks(ROOT / "README.md", "sh")[0].splitlines()]

    assert first == ["make demo", "make test"]


def test_every_rule_is_told_about() -> None:
    rules = load_rules([ROOT / "rules"]).rules
    stable = {rule.id for rule in rules if rule.definition.status == "stable"}
    assert stable

    for text, expected in (("README.md", stable), ("docs/guide/findings.md", {rule.id for rule in rules})):
        told = set(re.findall(r"^\| `(\w+)` \|", (ROOT / text).read_text(), re.MULTILINE))
        assert expected <= told, text


def test_variables_of_the_instrumentation_are_all_in_the_guide() -> None:
    source = (ROOT / "instrumentation/trueline/instrumentation/options.py").read_text()
    guide = (ROOT / "docs/guide/instrument.md").read_text()

    for variable in set(re.findall(r'"(TRUELINE_[A-Z_]+)"', source)):
        assert f"`{variable}`" in guide, variable


def test_the_changelog_keeps_a_place_for_what_comes() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == "Unreleased"


def test_the_example_rule_passes_its_own_tests(store: Store, tmp_path: Path) -> None:
    example, *_ = (text for text in blocks(ROOT / "docs/guide/rules.md", "yaml") if "\ntests:" in text)
    path = tmp_path / f"{yaml.safe_load(example)['id']}.yaml"
    path.write_text(example)

    results = run_rule_tests(
        load_rule(path),
        query=lambda sql, parameters: store.query_read_only(sql, parameters).dicts(),
        insert=store.insert,
        clear=lambda: clear_telemetry(store),
        now=datetime.now(UTC),
    )

    assert [(result.name, result.problems) for result in results] == [
        ("a transaction that was never committed", ()),
        ("a transaction that was rolled back on purpose", ()),
    ]


def test_the_reference_of_the_api_is_made_from_its_document() -> None:
    document = json.loads((ROOT / "tests/data/openapi.json").read_text())

    # Made anew by: python -m trueline.monitor.api.reference tests/data/openapi.json > docs/reference/api.md
    assert (ROOT / "docs/reference/api.md").read_text() == reference(document)
