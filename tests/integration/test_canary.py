"""A word placed wherever an application's data can be appears in no byte that leaves the process.

The bytes are those of real requests: head and body, as sent and inflated, searched in every form in which a
word survives an encoding.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.collector import Collector, collector
from support.postgres import Postgres

from trueline.instrumentation import semconv

pytestmark = pytest.mark.sqlalchemy_rest

PROGRAM = Path(__file__).parents[1] / "data" / "processes" / "canary.py"
# Letters only: nothing that masks numbers, quotes or addresses recognises it. And a number, for the others.
WORD = "Kanarienvogel"
NUMBER = "918273645546372819"


def forms(word: str) -> dict[str, bytes]:
    """How ``word`` looks in bytes, lower-cased where case does not matter."""
    data = word.encode()
    found = {
        "utf-8": data.lower(),
        "utf-16-le": word.encode("utf-16-le").lower(),
        "utf-16-be": word.encode("utf-16-be").lower(),
        "percent": "".join(f"%{byte:02x}" for byte in data).encode(),
        "hex": data.hex().encode(),
        "escaped": "".join(f"\\u{byte:04x}" for byte in data).encode(),
        "reversed": data[::-1].lower(),
    }
    for offset in range(3):
        # Without the characters that its neighbours have a part in.
        encoded = base64.b64encode(b"\0" * offset + data)
        found[f"base64+{offset}"] = encoded[(offset * 8 + 5) // 6 : len(data + b"\0" * offset) * 8 // 6]
    return found


def leaks(received: Collector, *words: str) -> list[str]:
    """Where a word is found: path, form, and the bytes around it."""
    found = []
    for request in received.requests:
        for where, data in (("head", request.head.encode()), ("raw", request.raw), ("body", request.body)):
            for word in words:
                for form, needle in forms(word).items():
                    hay = data if form.startswith("base64") else data.lower()
                    at = hay.find(needle)
                    if at >= 0:
                        found.append(f"{request.path} {where} {form}: {data[max(0, at - 150) : at + 60]!r}")
    return found


def run(received: Collector, postgres: Postgres, folder: Path, source: str, **more: str) -> dict[str, int]:
    url = postgres.url().set(password=WORD).update_query_dict({"application_name": WORD})
    rendered = url.render_as_string(hide_password=False)
    result = subprocess.run(
        [sys.executable, str(PROGRAM), received.endpoint, source, rendered, str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **os.environ,
            "CANARY": WORD,
            "CANARY_NUMBER": NUMBER,
            "DATABASE_URL": rendered,
            "API_KEY": WORD,
            "TRUELINE_HASH_SECRET": f"secret {WORD}",
            "TRUELINE_EXIT_WAIT": "60",
            **more,
        },
    )
    assert result.returncode == 0, result.stderr
    counts: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return counts


@pytest.mark.parametrize("word", [WORD, NUMBER])
@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_the_search_finds_every_form(word: str, before: str) -> None:
    for form, needle in forms(word).items():
        name = form.split("+")[0]
        padded = f"{before}{word}xyz"
        data = {
            "utf-8": padded.encode(),
            "utf-16-le": padded.encode("utf-16-le"),
            "utf-16-be": padded.encode("utf-16-be"),
            "percent": "".join(f"%{byte:02x}" for byte in padded.encode()).encode(),
            "hex": padded.encode().hex().encode(),
            "escaped": "".join(f"\\u{ord(one):04x}" for one in padded).encode(),
            "reversed": padded[::-1].encode(),
            "base64": base64.b64encode(padded.encode()),
        }[name]
        if name == "base64":
            assert (needle in data) or not form.endswith(str(len(before)))
        else:
            assert needle in data.lower()


@pytest.mark.parametrize("source", ["own", "contrib"])
def test_no_value_leaves_the_process(source: str, postgres: Postgres, tmp_path: Path) -> None:
    with collector() as received:
        counts = run(received, postgres, tmp_path, source)
        spans, logs = received.spans(), received.logs()
        found = leaks(received, WORD, NUMBER)
    assert not found, "\n".join(found[:12])
    # It really worked, failed, and was seen: every driver, errors with their codes, logs of both.
    assert counts["ran"] > 200, counts
    assert counts["failed"] > 90, counts
    statements = [span for span in spans if semconv.STATEMENT_KIND in span.attributes]
    assert len(statements) > 200
    codes = Counter(span.attributes.get(semconv.DB_RESPONSE_STATUS_CODE, "") for span in statements)
    assert {"23505", "23514", "23502", "22P02", "P0001", "22001", "42601"} <= codes.keys(), codes
    assert {span.attributes["db.system.name"] for span in statements} >= {"postgresql", "sqlite"}
    assert any(span.attributes.get(semconv.IDENTITY_VALUES) for span in statements)
    assert len(logs) > 2 * counts["failed"]
    assert received.requests[0].head


def test_the_word_is_found_where_it_is_declared_plain(postgres: Postgres, tmp_path: Path) -> None:
    """The search over the same way out finds what is there."""
    with collector() as received:
        run(received, postgres, tmp_path, "own", CANARY_CONTROL="1")
        assert leaks(received, WORD)
