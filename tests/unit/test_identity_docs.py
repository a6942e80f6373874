"""The guide to identities says what the code does."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from trueline.instrumentation.identity import Domain, IdentityConfig

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guide/identities.md").read_text(encoding="utf-8")
DATA = json.loads((ROOT / "tests/unit/data/identity_encodings.json").read_text(encoding="utf-8"))


def test_the_table_of_encodings_is_the_data() -> None:
    noted: dict[str, str] = {}
    for row in DATA:
        if row["same"] and "note" in row:
            noted.setdefault(row["encoding"], row["note"])
    section = GUIDE.partition("## Encodings")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE) == list(noted.items())


def test_the_table_of_names_is_what_is_found() -> None:
    config = IdentityConfig()
    section = GUIDE.partition("**By name.**")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == 5
    for domain, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert config.domain_of("things", name) == domain, name
    left_alone = section.partition("Left alone are")[2].partition("outside")[0]
    for name in re.findall(r"`(\w+)`", left_alone):
        assert config.domain_of("things", name) is None, name


def test_every_argument_is_told() -> None:
    section = GUIDE.partition("| argument |")[2].partition("\n\n")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    taken = set(IdentityConfig.__init__.__annotations__) - {"return"}
    assert told == taken


def test_the_example_is_a_configuration() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == "IdentityConfig"]
    config = eval(ast.unparse(call), {"IdentityConfig": IdentityConfig, "Domain": Domain})
    assert config.domain_of("log_7", "who") == "user"
    assert config.domain_of("audit", "user_id") is None
    assert config.is_plain(config.domain_of("x", "receipt_number"))
    assert config.derivations["short"]("12345678") == 345_678
    assert config.resolver_of("user")("user", "t.c", 17) == "u-000017"
