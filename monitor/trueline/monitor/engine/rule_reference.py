"""The reference of the shipped rules: ``python -m trueline.monitor.engine.rule_reference`` writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trueline.monitor.engine.rule import Rule

#: Where it is published, from the repository's root.
REFERENCE_FILE: Final = "docs/reference/rules.md"
_HEAD: Final = """# The shipped rules

Made from the rule files by `python -m trueline.monitor.engine.rule_reference`. How findings are read is told
in [Findings](../guide/findings.md), how rules are written and tuned in [Write a rule](../guide/rules.md).

They come from five incidents: an expense tracker in a chat after a model was added (A: summaries that came
back empty; B: expenses lost with the model's errors), a finance application's report on the integrity of its
data (C), an onboarding with two ways to persist (D), and a monitor of field photographs that lost rows to a
constraint (E).

"""


def render_reference(rules: Sequence[Rule]) -> str:
    """The page as the published text."""
    contents = "".join(
        f"- [`{rule.id}`](#{rule.id}): {rule.definition.title} ({rule.definition.severity})\n"
        for rule in rules
    )
    parts = []
    for rule in rules:
        definition = rule.definition.model_dump(mode="json", exclude={"tests"}, by_alias=True)
        parts.append(f"## {rule.id}\n\n{describe_definition(definition, rule.parameters)}")
    return _HEAD + contents + "\n" + "\n".join(parts)


def describe_definition(definition: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """A rule in Markdown, for people, from its definition as JSON and its parameters as they are now."""
    lines = [f"**{definition['title']}.** Severity {definition['severity']}, {definition['status']}.", ""]
    if definition["why"]:
        lines += [definition["why"], ""]
    if definition["decides"]:
        lines += ["**How it decides.** " + definition["decides"], ""]
    attributes = ", ".join(f"`{name}`" for name in definition["needs"]["attributes"])
    lines += [
        "| | |",
        "|---|---|",
        f"| one finding for each | {', '.join(f'`{name}`' for name in definition['group_by'])} |",
        f"| evaluated | every {_time(definition['interval'])}, {_time(definition['delay'])} after arrival |",
        f"| looks back | {_time(definition['lookback'])} |",
        f"| resolves | {_time(definition['resolve']['after'])} after it was last seen"
        + (", or on proof of health |" if definition["resolve"].get("healthy") else " |"),
        f"| reads | {', '.join(f'`{name}`' for name in definition['needs']['tables']) or 'see its query'} |",
        f"| needs | {attributes or 'nothing special'} |",
    ]
    if definition["origins"]:
        lines.append(f"| seen in | incident {', '.join(definition['origins'])} |")
    lines.append("")
    if definition["params"]:
        lines += ["| parameter | value | meaning |", "|---|---|---|"]
        for name, param in definition["params"].items():
            value = parameters.get(name, param["default"])
            lines.append(f"| `{name}` | `{_value(value)}` | {_line(param['meaning'])} |")
        lines.append("")
    if definition["false_positives"]:
        lines += ["What looks alike and is well:", ""]
        lines += [f"- {_line(one)}" for one in definition["false_positives"]]
        lines.append("")
    if definition["exceptions"]:
        lines += ["Exceptions:", ""]
        for one in definition["exceptions"]:
            until = f", until {one['until']}" if one.get("until") else ""
            lines.append(f"- `{one['match']}`: {_line(one['reason'])}{until}")
        lines.append("")
    return "\n".join(lines)


def _time(iso: str) -> str:
    """``24 hours`` for pydantic's ``P1D``, ``PT24H`` ..."""
    match = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?", iso)
    if match is None:
        return iso
    units = ("day", "hour", "minute", "second")
    parts = []
    for number, unit in zip(match.groups(), units, strict=True):
        if number and float(number):
            parts.append(f"{float(number):g} {unit}{'' if float(number) == 1 else 's'}")
    return " ".join(parts) or "at once"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _line(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    from trueline.monitor.engine.load import load_rules
    from trueline.monitor.resources import shipped

    Path(REFERENCE_FILE).write_text(render_reference(load_rules([shipped("rules")]).rules), encoding="utf-8")
