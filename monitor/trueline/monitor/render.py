"""A finding in full, for somebody on call who has never heard of the product; in terminals and pipes."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from trueline.monitor.engine.templates import few, plural, utc

if TYPE_CHECKING:
    from rich.console import Console

_INDENT: Final = "  "
#: Items of the timeline that are shown, those that the rule named before the others.
MAX_ITEMS: Final = 30
#: Widest line of prose: longer ones are hard to read, however wide the terminal is.
MAX_WIDTH: Final = 110
_STYLES: Final = {
    "critical": "bold white on red",
    "error": "bold red",
    "warning": "bold yellow",
    "info": "bold blue",
}
#: Text of telemetry may hold escape sequences, which must not reach a terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LIST_ITEM: Final = re.compile(r"(\s*(?:[-*]|\d+[.)])\s+)")


def render_finding(finding: Mapping[str, Any], console: Console, *, now: datetime | None = None) -> None:
    """Print what GET /api/v1/findings/{id} answered. ``now`` is what "ago" refers to."""
    page = _Page(console, now or datetime.now(UTC))
    page.title(finding)
    page.prose(finding["summary"])
    page.section("WHAT IS WRONG")
    page.prose(finding["explanation"])
    page.section("SINCE WHEN")
    page.lines(_since(finding, page.now))
    page.section("WHERE")
    page.pairs(_where(finding))
    affected = _affected(finding)
    if affected:
        page.section("WHO IS AFFECTED")
        page.lines(affected)
    page.timeline(finding["evidence"])
    for heading, part in (
        ("DO NOW", "now"),
        ("MEND FOR GOOD", "then"),
        ("SEE THAT IT IS MENDED", "check"),
    ):
        page.section(heading)
        page.prose(finding["remediation"][part])
    if finding["false_positives"]:
        page.section("IT IS NO FAULT IF")
        page.prose("\n".join(f"- {text}" for text in finding["false_positives"]))
    page.section("HISTORY")
    page.lines(_history(finding))


def render_incident(incident: Mapping[str, Any], console: Console, *, now: datetime | None = None) -> None:
    """Print what GET /api/v1/incidents/{id} answered."""
    page = _Page(console, now or datetime.now(UTC))
    items = incident["items"]
    page.head(
        incident,
        f"{incident['state']} · incident {incident['id']} · {plural(len(items), 'finding')} · "
        f"{incident['environment'] or 'unset'}",
    )
    page.prose(incident["summary"])
    page.section("LIKELY CAUSE")
    page.prose(incident["because"])
    first, last = _moment(incident["first_seen"]), _moment(incident["last_seen"])
    page.lines(
        [
            f"First seen {utc(first)} ({_ago(first, page.now)}), "
            f"last seen {utc(last)} ({_ago(last, page.now)})."
        ]
    )
    if len(items) > 1:
        page.section("WHY THESE ARE ONE INCIDENT")
        page.lines([f"{text[:1].upper()}{text[1:]}." for text in incident["links"]] or ["They once were."])
    page.section("FINDINGS, THE LIKELY CAUSE FIRST")
    for number, item in enumerate(items, 1):
        marks = [item["severity"], item["state"], plural(item["count"], "time")]
        if item["acknowledged_by"]:
            marks.append(f"taken by {item['acknowledged_by']}")
        if item["silenced_by"]:
            marks.append("silenced")
        page.lines([f"{number}. {item['summary']}"])
        page.lines([f"   {item['rule']} · {' · '.join(marks)} · trueline findings show {item['id']}"])
    page.section("DO NOW")
    page.prose(incident["now"])
    deploy = incident["deploy"]
    if deploy and deploy["likely"]:
        page.lines(
            [
                f"If that takes long: {deploy['service']} {deploy['previous']} was healthy, so rolling "
                f"{deploy['version']} back stops it."
            ]
        )
    page.lines([f"All there is to know: trueline findings show {items[0]['id']}"])


class _Page:
    """Prints the parts of a page."""

    def __init__(self, console: Console, now: datetime) -> None:
        self.now = now
        self._console = console
        self._width = max(min(console.width, MAX_WIDTH), 40)

    def title(self, finding: Mapping[str, Any]) -> None:
        """The head: how bad, what, and where the finding is in its life."""
        rule = f"rule {finding['rule']} version {finding['rule_version']}"
        state = finding["state"]
        if finding.get("acknowledged_by"):
            state += f" by {finding['acknowledged_by']}"
        self.head(finding, f"{state} · finding {finding['id']} · {rule}")
        if finding.get("silenced_by"):
            self._wrapped(f"Nobody is told of it: silence {few(finding['silenced_by'])}.")

    def head(self, item: Mapping[str, Any], below: str) -> None:
        """Severity and title, and a line below."""
        severity = str(item["severity"])
        self._print(f" {severity.upper()} ", _STYLES.get(severity, "bold"), end=" ")
        self._print(item["title"], "bold")
        self._print(f"{below}\n", "dim")

    def section(self, heading: str) -> None:
        """A heading with a line of air before it."""
        self._print(f"\n{heading}", "bold cyan")

    def prose(self, text: str) -> None:
        """Markdown as text: paragraphs, lists and tables set, code left exactly as it is, to be copied."""
        code = False
        paragraph: list[str] = []
        table: list[str] = []
        for line in [*text.splitlines(), ""]:
            fence = line.lstrip().startswith("```")
            row = not code and line.lstrip().startswith("|")
            if not code and (fence or row or not line.strip() or _LIST_ITEM.match(line)):
                self._wrapped(" ".join(paragraph))
                paragraph = []
            if table and not row:
                self._table(table)
                table = []
            if row:
                table.append(line)
            elif fence:
                code = not code
            elif code:
                self._print(f"{_INDENT * 2}{line}", "green")
            elif line.strip():
                paragraph.append(line.strip() if paragraph else line.rstrip())

    def lines(self, lines: Iterable[str]) -> None:
        """Lines of prose, each wrapped by itself."""
        for line in lines:
            self._wrapped(line)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values in two columns."""
        broadest = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self._wrapped(value, f"{name:<{broadest}}  ")

    def timeline(self, evidence: Sequence[Mapping[str, Any]]) -> None:
        """What happened, trace by trace, with times relative to the first item."""
        if not evidence:
            return
        shown = sorted(evidence, key=lambda item: not item["named"])[:MAX_ITEMS]
        shown.sort(key=lambda item: _moment(item["at"]))
        begin = _moment(shown[0]["at"])
        traces: dict[str, list[Mapping[str, Any]]] = {}
        for item in shown:
            traces.setdefault(item["trace_id"], []).append(item)
        self.section("WHAT HAPPENED")
        stamp = begin.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        self._wrapped(f"Times count from {stamp} UTC; > marks what proves the finding.")
        times = {id(item): _elapsed((_moment(item["at"]) - begin).total_seconds()) for item in shown}
        names = {id(item): _service(item) for item in shown}
        wide = max(len(text) for text in times.values())
        broad = max(len(text) for text in names.values())
        for trace_id, items in traces.items():
            self._print(f"{_INDENT}trace {trace_id}", "dim")
            for item in items:
                mark = ">" if item["named"] else " "
                head = f"{mark} {times[id(item)]:>{wide}}  {names[id(item)]:<{broad}}  "
                self._wrapped(item["text"] + _duration(item), head, "red" if _is_bad(item) else "")
        if len(evidence) > len(shown):
            self._wrapped(f"and {len(evidence) - len(shown)} more spans and log lines (--json shows all)")

    def _table(self, lines: Sequence[str]) -> None:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        rows = [row for row in rows if not all(re.fullmatch(":?-*:?", cell) for cell in row)]
        columns = max((len(row) for row in rows), default=0)
        rows = [row + [""] * (columns - len(row)) for row in rows]
        widths = [max(len(row[column]) for row in rows) for column in range(columns)]
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
            self._print(f"{_INDENT}{'  '.join(cells).rstrip()}")

    def _wrapped(self, text: str, head: str = "", style: str = "") -> None:
        if not text.strip() and not head:
            return
        item = _LIST_ITEM.match(text) if not head else None
        hang = " " * (len(item[1]) if item else len(head))
        for line in textwrap.wrap(
            _clean(text),
            max(self._width - len(_INDENT) - (0 if item else len(hang)), 30),
            subsequent_indent=hang if item else "",
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]:
            self._print(f"{_INDENT}{head}{line}", style)
            head = " " * len(head)

    def _print(self, text: str, style: str = "", end: str = "\n") -> None:
        from rich.text import Text

        self._console.print(Text(_clean(str(text)), style=style), end=end, soft_wrap=True, highlight=False)


def _since(finding: Mapping[str, Any], now: datetime) -> list[str]:
    first, last = _moment(finding["first_seen"]), _moment(finding["last_seen"])
    said = [
        f"First seen {utc(first)} ({_ago(first, now)}), last seen {utc(last)} ({_ago(last, now)}), "
        f"{plural(finding['count'], 'time')} in all."
    ]
    if finding["versions"]:
        later = f"; later with {few(finding['versions'][1:], 5)}" if len(finding["versions"]) > 1 else ""
        said.append(f"First seen with version {finding['versions'][0]}{later}.")
    if finding.get("since"):
        said.append(finding["since"]["sentence"])
    return said


def _where(finding: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions: dict[str, dict[str, None]] = {name: {} for name in finding["services"]}
    paths: dict[str, None] = {}
    places: dict[str, None] = {}
    for item in finding["evidence"]:
        if item["service"]:
            versions.setdefault(item["service"], {})
            if item["version"]:
                versions[item["service"]][item["version"]] = None
        attributes = item["attributes"]
        if attributes.get("trueline.entry.name"):
            paths[f"{attributes['trueline.entry.name']} in {item['service']}"] = None
        if attributes.get("trueline.database.fingerprint") and attributes.get("trueline.database.url"):
            places[_place(item["service"], attributes)] = None
    services = [f"{name} {'/'.join(seen)}".strip() for name, seen in versions.items()]
    pairs = [
        ("environment", finding["environment"] or "unset"),
        ("application", finding["application"]),
        ("services", ", ".join(services)),
        ("code paths", few(paths, 6, empty="")),
        *(("database" if number == 0 else "", place) for number, place in enumerate(list(places)[:6])),
    ]
    return [(name, value) for name, value in pairs if value]


def _place(service: str, attributes: Mapping[str, str]) -> str:
    name = attributes.get("db.namespace") or attributes.get("db.name") or "a database"
    schema = attributes.get("trueline.database.schema", "")
    variable = attributes.get("trueline.database.url_variable", "")
    return (
        f"{name}{f' (schema {schema})' if schema and schema != 'public' else ''} at "
        f"{attributes['trueline.database.url']}{f', from the variable {variable}' if variable else ''}, "
        f"used by {service}"
    )


def _affected(finding: Mapping[str, Any]) -> list[str]:
    """Identities in the evidence that the rule named, by domain."""
    people: dict[str, dict[str, None]] = {}
    for item in finding["evidence"]:
        if not item["named"]:
            continue
        domains = _listed(item["attributes"].get("trueline.identity.domains"))
        values = _listed(item["attributes"].get("trueline.identity.values"))
        for domain, value in zip(domains, values, strict=False):
            people.setdefault(domain, {})[value] = None
        for bound in _listed(item["attributes"].get("trueline.identity.bound")):
            domain, _, value = bound.partition(":")
            people.setdefault(domain, {})[value] = None
    said = [
        f"{plural(len(values), domain)} in the evidence: {few(values, 4)}"
        for domain, values in people.items()
    ]
    if any(re.fullmatch("[0-9a-f]{32}", value) for values in people.values() for value in values):
        said.append("Long values are hashes; `trueline last-write <id>` looks up whom you know by id.")
    return said


def _history(finding: Mapping[str, Any]) -> list[str]:
    return [
        f"{utc(_moment(event['at']))}  {event['action'].replace('_', ' ')} by {event['who']}"
        + (f": {event['why']}" if event["why"] else "")
        for event in finding["events"]
    ]


def _is_bad(item: Mapping[str, Any]) -> bool:
    if item["status"] in ("error", "fatal", "critical"):
        return True
    undone: bool = item["outcome"] == "rolled_back"
    return undone and item["attributes"].get("trueline.statement.kind") != "read"


def _service(item: Mapping[str, Any]) -> str:
    return f"{item['service']} {item['version']}".strip() or "-"


def _duration(item: Mapping[str, Any]) -> str:
    milliseconds = float(item["duration_ms"])
    return f" [{_clock(milliseconds / 1000)}]" if milliseconds >= 100 else ""


def _clock(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _elapsed(seconds: float) -> str:
    if seconds < 60:
        return f"+{seconds:.3f} s"
    if seconds < 3600:
        return f"+{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"+{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _ago(moment: datetime, now: datetime) -> str:
    seconds = (now - moment).total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{plural(int(seconds // size), unit)} ago"
    return f"{plural(max(int(seconds), 0), 'second')} ago"


def _moment(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _listed(text: str | None) -> list[str]:
    try:
        parsed = json.loads(text or "[]")
    except ValueError:
        return []
    return [str(value) for value in parsed] if isinstance(parsed, list) else []


def _clean(text: str) -> str:
    return _CONTROL.sub("?", text.replace("\t", "    "))
