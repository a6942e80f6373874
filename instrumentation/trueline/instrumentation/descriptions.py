"""Error messages without the values in them: a word leaves only if it is known to be none.

Databases, drivers and functions in a database put row values into messages in too many ways to know them
all: in quotes, behind colons, in the middle of a sentence that a trigger made. So nothing is looked for
that might be a value. What leaves are words that databases and drivers use in messages of their own, and
names that the driver's diagnostics gave apart from the message; everything else is a question mark.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

MAX_DESCRIPTION: Final = 200
#: Messages longer than this are cut before anything else is done with them.
MAX_READ: Final = 8192

_VOCABULARY: Final = """
a abort aborted access acquire active adapt after again all allowed already an and another any are
argument arguments array as assigned asyncpg at attempt attribute authentication authorization available
bad be because been before begin being bigint binding bindings bit blob block bool boolean both bound
bounds busy but by byte bytea bytes call called can can't cannot cascaded cast certificate change changed
char character characters check cidr class client close closed closing column columns command commands
commit committed compile concurrent concurrently configuration conflict conflicting connect connected
connecting connection connections constraint consuming contain contained contains context conversion
convert copy corrupt corrupted could couldn't create current currently cursor cycle data database datatype
date datetime deadlock deadlocked decimal decode decoding default deferred definition delete depth
destination detected determine dict did different digit disabled disconnected disjoint disk distinct
division do does doesn't domain don't double due duplicate during each element empty encode encoding end
ended entry enum error escape establish exceeded exceeds exclusion execute executing execution exist
exists expected expression extra failed fails failure fatal fatally feature field fields file float for
foreign format found from full function generated geometry get given group handle has have held
hexadecimal host i if image immutable implicit in incomplete incorrect index inet infinity initialize
initialized input insert inside insufficient int integer integrity interface internal interrupted interval
into invalid io is isn't isolation it item its json jsonb key keys large last layout length level libpq
limit line list literal locale lock locked long lost macaddr main malformed many mariadb match maximum
memory message minimum mismatch missing mode modify module money more multiple must mysql name named names
nan necessary need needed negative nested network new no non none nonetype not nothing null number numbers
numeric object occurred of off oid old on one only open operation operator option or order other out outer
outside overflow overlap owner package parameter parameters parent parse parser parsing partition password
path pending perform permission permitted place placeholder placeholders point policy pool position
possible postgresql precision prepared preventing previous primary privilege procedure process processed
processing prohibited protocol psycopg python queries query queue raised range read reading readonly real
received recognized record recovery recursive reference referenced references referencing refused regclass
regular relation release remaining remote removed rename replica replication request requested required
requires reserved reset resource resources restart result retry return returned returning returns role
rollback root row rows rule running savepoint scale schema search second security select send sent
sequence serial serialize server session set shut shutting simultaneous single size slot smallint snapshot
socket source space specified sql sqlite ssl standby start started starting state statement statements
step still stopped storage str string structure subquery substring such supplied support supported syntax
system table tables tablespace target temporary terminated terminating test text than that the their then
there this time timed timeout timestamp timestamptz timezone tls to token too trailing transaction
transactions transport trigger truncate truncated try trying tsquery tsvector tuple type types unable
undefined unexpected unexpectedly union unique unit unknown unlimited unlock unrecognized unsupported
until unusable update updated use used user uses using uuid value values varchar variable variables
varying version view violated violates violating violation waiting was when where which while will with
within without work would write writing wrong xml yet you your zero zone
"""
_WORDS: Final = frozenset(_VOCABULARY.split())

#: Where the part of a message begins that quotes rows, statements or parameters.
_TAIL: Final = re.compile(
    r"\n\s*(?:DETAIL|CONTEXT|HINT|LINE \d+|QUERY|STATEMENT|WHERE|INTERNAL QUERY)\b"
    r"|\[SQL:|\[parameters:|\(Background on this error"
    r"|(?i:\bfailing row contains\b|\bunnamed portal parameter\b|\bfor query argument\b|\bKey \()"
)
_TOKEN: Final = re.compile(
    r"(?P<quoted>\"(?:[^\"]|\"\")*(?:\"|\Z)|(?<!\w)'(?:[^'\\]|\\.|'')*(?:'|\Z)|`[^`]*(?:`|\Z))"
    r"|(?P<word>[\w$](?:[\w$]|['-](?=\w))*)|(?P<space>\s+)|.",
    re.DOTALL,
)
_PUNCTUATION: Final = frozenset(".,:;()[]=-/<>")
_MASKED: Final = re.compile(r"[-.]*\?(?:[^\w\s\"'`()\[\]]*\s*\?)*")


def clean_description(text: str, names: Collection[str] = ()) -> str:
    """Return an error message without values: at most 200 characters of its first line.

    ``names`` are those of constraints, tables and columns that may stay. PostgreSQL's DETAIL and CONTEXT,
    SQLAlchemy's statement and parameters are cut; quoted texts, numbers and unknown words are masked.
    """
    text = text[:MAX_READ]
    tail = _TAIL.search(text)
    if tail is not None:
        text = text[: tail.start()]
    text = text.strip().partition("\n")[0]
    parts: list[str] = []
    for token in _TOKEN.finditer(text):
        kind, said = token.lastgroup, token.group()
        if kind == "quoted":
            name = said[1:-1]
            parts.append(said if name in names else f"{said[0]}?{said[0]}")
        elif kind == "word":
            parts.append(said if said in names or said.lower() in _WORDS else _of_parts(said, names))
        elif kind == "space":
            parts.append(" ")
        else:
            parts.append(said if said in _PUNCTUATION else "?")
    return _MASKED.sub("?", "".join(parts)).strip()[:MAX_DESCRIPTION]


def _of_parts(word: str, names: Collection[str]) -> str:
    """A word with hyphens (not-null) is known if all of its parts are."""
    parts = word.split("-")
    known = len(parts) > 1 and all(part in names or part.lower() in _WORDS for part in parts)
    return word if known else "?"
