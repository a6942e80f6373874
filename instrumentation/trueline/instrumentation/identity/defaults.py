"""Names of columns and tables that are taken for identities when nothing was configured.

The choice is narrow on purpose: a column that names something else than a person, tenant, delivery or
session makes findings about nobody. What is left out, and why: ``client_id`` (OAuth clients),
``created_by`` and ``actor_id`` (who did it, not whose data it is), ``company_id``, ``team_id`` and
``group_id`` (often plain rows; a foreign key can say more), ``event_id`` and ``uuid`` (any row's own key),
``username`` outside of the users' own table (a second name beside the key).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

_KEY: Final = "(?:id|uid|uuid|guid|key)"
_HASHED: Final = "(?:_(?:hash|hashed|digest|sha256|sha1|md5|hmac))?"
#: What nothing but a user is called.
_USER: Final = "user|customer"
#: What may be a user, or something else that has accounts, members, owners.
_ROLE: Final = "member|owner|sender|recipient|author|subscriber|patient|person|account|player"
_TENANT: Final = "tenant|org|organization|organisation|workspace"


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for. ``strong``: nothing else is called so; ``noun``: ``account`` of account_id."""

    domain: str
    noun: str
    strong: bool


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


#: Domain, full-match pattern over a column's name in lower case, strong; the first that fits decides.
_COLUMNS: Final[tuple[tuple[str, re.Pattern[str], bool], ...]] = (
    (
        "user",
        _pattern(
            rf"(?:hashed_)?(?:[a-z]+_)?(?P<noun>{_USER})_?(?:id|uid|uuid|guid){_HASHED}"
            rf"|(?:hashed_)?(?P<noun2>{_USER})_key{_HASHED}"
            r"|(?P<noun3>user|customer)_(?:hash|hashed|digest|sha256)"
            rf"|(?:psid|page_scoped_id|userid|clerk_id|telegram_id|sender_psid|recipient_psid){_HASHED}"
        ),
        True,
    ),
    (
        "user",
        _pattern(
            rf"(?:hashed_)?(?:[a-z]+_)?(?P<noun>member)_?(?:id|uid|uuid|guid){_HASHED}"
            rf"|(?:hashed_)?(?P<noun2>{_ROLE})_{_KEY}{_HASHED}"
            rf"|(?P<noun3>member)_(?:hash|hashed|digest|sha256)|uid{_HASHED}"
        ),
        False,
    ),
    ("tenant", _pattern(rf"(?P<noun>{_TENANT})_{_KEY}{_HASHED}"), True),
    (
        "message",
        _pattern(
            rf"(?:[a-z]+_)?message_(?:id|uid|uuid|guid){_HASHED}|mid{_HASHED}|delivery_id{_HASHED}"
            r"|webhook_event_id|webhook_delivery_id|idempotency_key"
        ),
        False,
    ),
    ("session", _pattern(rf"(?P<noun>session)_(?:id|uid|uuid|key){_HASHED}"), False),
    ("email", _pattern(rf"(?:user_|customer_|member_)?e?mail(?:_address)?{_HASHED}"), True),
)

#: Tables whose own primary key is the identity that ``<table>_id`` names elsewhere.
_TABLES: Final[tuple[tuple[str, re.Pattern[str], bool], ...]] = (
    ("user", _pattern(r"(?:app_|auth_|ab_|tbl_|core_)?(?P<noun>user)s?"), True),
    (
        "user",
        _pattern(r"(?P<noun>customer|member|account|subscriber|patient|person)s?|(?P<noun2>people)"),
        False,
    ),
    ("tenant", _pattern(rf"(?P<noun>{_TENANT})s?"), True),
)
#: Groups of people that a user belongs to, where a foreign key of the users' table says so; by table.
_GROUPS: Final = {
    **{f"{noun}s": noun for noun in ("group", "household", "team", "club", "school", "site")},
    "companies": "company",
    "families": "family",
}
#: Beside a table of who is in which they are as often lists of rights: auth_group, roles of a forum.
RIGHTS_NOUNS: Final = frozenset({"group"})
#: What a user may have in other systems as well; beside a declared reference to the user it is one of those.
FOREIGN_NOUNS: Final = frozenset({"account", "member", "person", "player", "subscriber"})
#: A user's second name, in the table of users.
LOGIN_NAMES: Final = frozenset({"username", "user_name", "login", "login_name", "screen_name"})
#: Who did it rather than whose it is. Where a table says nothing better, who made a row is whose it is.
_ACTORS: Final = _pattern(r"(?:[a-z]+_)*by(?:_(?:user_)?(?:id|uid|uuid|fk))?|(?:[a-z]+_)?actor(?:_id)?")
#: Of many that a row has to do with the one that came last: last_post_id, latest_editor_id.
_LATEST: Final = _pattern(r"(?:last|latest|newest)_[a-z_]+")
_MAKERS: Final = _pattern(
    r"(?:created|added|submitted|uploaded|posted|requested|started|opened|owned)_by(?:_(?:user_)?(?:id|uid|uuid|fk))?"
)
_CAMEL: Final = _pattern(r"(?<=[a-z0-9])(?=[A-Z])")


def snake_case(name: str) -> str:
    """Return ``owner_id`` for ``ownerId`` and ``OwnerID``; other names in lower case."""
    if name.islower():
        return name
    return name.lower() if name.isupper() else _CAMEL.sub("_", name).lower()


@functools.lru_cache(maxsize=4096)
def named(column: str) -> Named | None:
    """Return what a column's name stands for by itself."""
    return _match(_COLUMNS, column)


@functools.lru_cache(maxsize=4096)
def table_named(table: str) -> Named | None:
    """Return what a table's name says of its key; a schema in front is ignored."""
    return _match(_TABLES, table.rpartition(".")[2].lower())


def is_actor(column: str) -> bool:
    """Tell whether a column says who did something to a row: created_by, approved_by_id, last_poster_id."""
    return _ACTORS.fullmatch(column) is not None or is_latest(column)


def is_latest(column: str) -> bool:
    """Tell whether a reference is to the last of many, and so says nothing of whose the row is."""
    return _LATEST.fullmatch(column) is not None


def is_maker(column: str) -> bool:
    """Tell whether a column says who made a row."""
    return _MAKERS.fullmatch(column) is not None


def group_of(table: str) -> str:
    """Return what a group of people is called of which a table holds one a row, "" where it is none."""
    name = table.rpartition(".")[2].lower()
    return _GROUPS.get(name) or (name if name in _GROUPS.values() else "")


def is_row_of(noun: str, table: str) -> bool:
    """Tell whether a table is called after the noun: account and accounts, person and people."""
    name = table.rpartition(".")[2].lower()
    return bool(noun) and name in (noun, f"{noun}s", f"{noun}es", {"person": "people"}.get(noun))


def is_group_key(column: str, table: str) -> bool:
    """Tell whether a column is called after the group of people that a table holds: team_id and teams."""
    return column == f"{group_of(table)}_id"


def _match(known: tuple[tuple[str, re.Pattern[str], bool], ...], name: str) -> Named | None:
    for domain, pattern, strong in known:
        found = pattern.fullmatch(name)
        if found is not None:
            noun = next((text for text in found.groupdict().values() if text), "")
            return Named(domain, "person" if noun == "people" else noun, strong)
    return None
