"""Texts of findings: strict about names, harmless whatever the template tries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from jinja2 import TemplateSyntaxError

from trueline.monitor.engine.templates import MAX_TEXT, Template, few, plural, utc


def test_values_are_filled_in() -> None:
    template = Template("{{ table }}: {{ ids | few(2) }} since {{ at | utc }}, {{ n | plural('row') }}")
    values = {"table": "expenses", "ids": ["a", "b", "c"], "at": datetime(2026, 1, 2, tzinfo=UTC), "n": 2}
    assert template.render(values) == "expenses: a, b and 1 more since 2026-01-02 00:00:00 UTC, 2 rows"
    assert template.variables == {"table", "ids", "at", "n"}


def test_a_template_that_fails_costs_the_text_and_not_the_finding() -> None:
    assert Template("{{ there }}").render({}) == "(this text could not be made: 'there' is undefined)"
    assert Template("{{ 1 / n }}").render({"n": 0}) == "(this text could not be made: division by zero)"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x.__init__.__globals__ }}",
        "{{ few.__globals__ }}",
        "{{ 'x' * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ range(10000000) | list }}",
        "{% for i in range(99999999) %}{% endfor %}",
        "{{ x.append(1) }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_templates_reach_nothing(source: str) -> None:
    rendered = Template(source).render({"x": [1]})
    assert rendered.startswith("(this text could not be made: ") or rendered == ""


def test_numbers_may_be_multiplied() -> None:
    assert Template("{{ 2 * n }}").render({"n": 1.5}) == "3.0"


def test_texts_are_bounded() -> None:
    assert len(Template("{{ x }}").render({"x": "y" * 50_000})) == MAX_TEXT


def test_syntax_is_checked_when_the_rule_is_loaded() -> None:
    with pytest.raises(TemplateSyntaxError):
        Template("{{ x")


def test_filters() -> None:
    assert few([]) == "none"
    assert few(["a"]) == "a"
    assert plural(1, "query", "queries") == "1 query"
    assert plural(0, "query", "queries") == "0 queries"
    assert utc("2026-01-02T03:00:00+02:00") == "2026-01-02 01:00:00 UTC"
    assert utc(datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02 01:00:00 UTC"
    assert utc(None) == "unknown"
