"""One finding of each shipped rule as Markdown, from the first test in its file that expects one.

    python tests/support/rule_examples.py > docs/examples/rules.md

To be read as somebody on call would. Times are those of the run.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from trueline.monitor.engine.load import load_rules
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_rows import TOUCHED_TABLES
from trueline.monitor.engine.rule_tests import run_rule_tests
from trueline.monitor.resources import shipped
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Limits, Store, open_store
from trueline.monitor.store.migrate import migrate

HEAD = """# One finding of each rule

What `trueline findings show` says of an incident in each rule's own tests, without the parts that are alike
for all of them (where, who, timeline, history). Made by `python tests/support/rule_examples.py`.
"""


def empty(store: Store) -> None:
    """Empty the tables that tests fill."""
    for table in TOUCHED_TABLES:
        store.command(f"TRUNCATE TABLE {table}")


def example(store: Store, rule: Rule) -> str:
    """The texts of the rule's first finding."""
    incidents = [test for test in rule.definition.tests if test.expect]
    test = next((test for test in incidents if "summary" in test.expect[0]), incidents[0])
    alone = replace(rule, definition=rule.definition.model_copy(update={"tests": [test]}))
    (result,) = run_rule_tests(
        alone,
        query=lambda sql, values: store.query_read_only(sql, values, Limits(seconds=60)).dicts(),
        insert=store.insert,
        clear=lambda: empty(store),
        now=datetime.now(UTC),
    )
    values = {**result.found[0], "params": rule.parameters}
    text = {name: template.render(values).strip() for name, template in rule.templates.items()}
    about = f"{rule.definition.severity}, {rule.definition.status}"
    return (
        f"## {rule.id}\n\n*{about}. {test.name[:1].upper()}{test.name[1:]}.*\n\n"
        f"**{text['summary']}**\n\n{text['explanation']}\n\n"
        + "\n\n".join(
            f"**{title}**\n\n{text[name]}"
            for title, name in (
                ("Do now", "now"),
                ("Mend for good", "then"),
                ("See that it is mended", "check"),
            )
        )
    )


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(StoreSettings(data_dir=Path(folder)))
        migrate(store)
        rules = load_rules([shipped("rules")]).rules
        ordered = sorted(rules, key=lambda rule: (rule.definition.status != "stable", rule.id))
        page = HEAD + "\n" + "\n\n".join(example(store, rule) for rule in ordered) + "\n"
        # Tests are played side by side: traces and transactions carry the number of theirs.
        sys.stdout.write(re.sub(r"\b\d+~", "", page))
        store.close()


if __name__ == "__main__":
    main()
