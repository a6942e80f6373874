"""Which columns hold an identity, and of which domain: by configuration, by foreign key, by name.

What the configuration says goes first. Then a declared foreign key, which knows more than a name: a column
that refers to a user's key holds a user, whatever it is called, and one that is called like a person but
refers to something else does not. Names decide where nothing is declared.
"""

from __future__ import annotations

from typing import Any, Final

from trueline.instrumentation.identity import defaults
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.identity.metadata import MetadataReader
from trueline.instrumentation.identity.ownership import Path, ways_from
from trueline.instrumentation.identity.tables import KnownTables, TableFacts

_MAX_CACHED: Final = 16384
#: Foreign keys that lead to foreign keys; longer chains, and circles, end there.
_MAX_DEPTH: Final = 6
#: A group that so many tables refer to, beside the users', is whose things these are, not a list of rights.
_MIN_OF_GROUP: Final = 3


class IdentityColumns:
    """Answers for table and column, and learns from the statements that pass. Thread-safe, never raises."""

    def __init__(self, config: IdentityConfig) -> None:
        self.config: Final = config
        self.tables: Final = KnownTables()
        self._reader = MetadataReader(self.tables)
        self._cache: dict[tuple[str, str], str | None] = {}
        self._ways: dict[str, tuple[TableFacts | None, tuple[Path, ...]]] = {}

    def learn(self, context: Any) -> frozenset[str]:
        """Look at the tables that an execution context leads to.

        Returns the names (lower case, without schema) of tables whose columns may now be answered for
        differently: those that are new or have changed, and those that refer to one of them.
        """
        changed = self._reader.read_from(context)
        if not changed:
            return frozenset()
        self._cache.clear()
        self._ways.clear()
        touched = set(changed)
        for _ in range(_MAX_DEPTH):
            more = {table for name in touched for table, _ in self.tables.referring_to(name)} - touched
            more |= {
                target
                for name in changed
                if (facts := self.tables.get(name)) is not None
                for targets in facts.references.values()
                for target, _ in targets
            } - touched
            if not more:
                break
            touched |= more
        return frozenset(name.rpartition(".")[2] for name in touched)

    def domain_of(self, table: str, column: str) -> str | None:
        """Return the domain whose identities a column holds, or None. ``table`` may carry a schema."""
        key = (table, column)
        try:
            return self._cache[key]
        except KeyError:
            found = self._find(table, column)
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = found
            return found

    def ways_from(self, table: str) -> tuple[TableFacts | None, tuple[Path, ...]]:
        """Return what is declared of a table, and how its rows lead to somebody over rows of others.

        (None, ()) where nothing is declared, or by two tables of that name.
        """
        found = self._ways.get(table)
        if found is None:
            known = self.tables.called(table)
            found = (known[0], ways_from(self, known[0])) if len(known) == 1 else (None, ())
            if len(self._ways) >= _MAX_CACHED:
                self._ways.clear()
            self._ways[table] = found
        return found

    def _find(self, table: str, column: str) -> str | None:
        explicit, domain = self.config.explicit(table, column)
        if explicit:
            return domain
        known = self.tables.called(table)
        if known:
            name = defaults.snake_case(column)
            answers = {self._declared(one, name, 0) for one in known}
            if len(answers) == 1:
                return answers.pop()
        return self.config.domain_of(table, column)  # nothing is declared, or two tables disagree

    def _declared(self, table: TableFacts, column: str, depth: int) -> str | None:
        """Answer for a column of a table that is known."""
        explicit, domain = self.config.explicit(table.name, column)
        if explicit:
            return domain
        if column in table.references:
            return self._of_reference(table, column, depth)
        is_key = table.primary_key == (column,)
        if is_key or (column == "id" and column in (table.primary_key or (column,))):
            domain = self._of_table(table)
            if domain is not None:
                return domain
        named = defaults.named(column)
        if named is None:
            # a login name, in the table that holds the users
            is_login = column in defaults.LOGIN_NAMES and self._of_table(table) == "user"
            return "username" if is_login else None
        if is_key and named.domain == "user" and not named.strong:
            # a key that is called account_id, of a table that need not hold accounts
            return named.domain if defaults.is_row_of(named.noun, table.name) else None
        domain = self._of_noun(named)
        if domain is None and named.noun in defaults.FOREIGN_NOUNS and self._refers_to_user(table):
            return None  # oauth_accounts.account_id beside user_id: an account somewhere else
        return domain or named.domain

    def _of_reference(self, table: TableFacts, column: str, depth: int) -> str | None:
        targets = table.references[column]
        for name, other in targets:
            target = self.tables.get(name)
            if target is None:
                domain = self.config.domain_of(name, other)
            else:
                domain = self._declared(target, other, depth + 1) if depth < _MAX_DEPTH else None
            if domain is not None:
                actor = domain == "user" and defaults.is_actor(column)
                return None if actor and not self._is_nearest(table, column) else domain
        named = defaults.named(column)
        if named is None or named.domain == "message":
            return None  # a reference to a row: a delivery's id refers to nothing
        if named.strong:
            return named.domain
        suffix = named.domain == "session"
        return named.domain if any(_is_of(named.noun, name, suffix) for name, _ in targets) else None

    def _of_noun(self, named: defaults.Named) -> str | None:
        """A reference that was not declared as one: account_id where there is a table of accounts."""
        if named.domain != "user" or named.noun in ("", "user"):
            return None
        for facts in self.tables.called(f"{named.noun}s") or self.tables.called(named.noun):
            domain = self._of_table(facts)
            if domain is not None:
                return domain
        return None

    def _refers_to_user(self, table: TableFacts) -> bool:
        return any(self._of_reference(table, column, _MAX_DEPTH - 1) == "user" for column in table.references)

    def _is_nearest(self, table: TableFacts, column: str) -> bool:
        """Tell whether a table has nothing that says whose a row is, but who made it."""
        if not defaults.is_maker(column):
            return False
        others = {*map(defaults.snake_case, table.columns), *table.references} - {column}
        return not any(
            not defaults.is_actor(one) and self._declared(table, one, _MAX_DEPTH - 1) == "user"
            for one in others
        )

    def _of_table(self, table: TableFacts) -> str | None:
        """Return the domain that the key of a table stands for."""
        by_name = defaults.table_named(table.name)
        if by_name is not None and by_name.strong:
            return by_name.domain
        # orders.user_id leads to people: people are users
        noun = by_name.noun if by_name is not None else ""
        for _, column in self.tables.referring_to(table.name):
            named = defaults.named(column)
            if named is not None and named.strong and named.noun != noun:
                if named.domain == "tenant" or named.noun == "user":
                    return named.domain
                if named.domain == "user" and named.noun:
                    noun = named.noun
        if noun:
            # customers beside users are numbered by themselves: customer 7 is not user 7
            return noun if self._is_beside_users(table) else "user"
        return defaults.group_of(table.name) if self._is_group_of_users(table) else None

    def _is_beside_users(self, table: TableFacts) -> bool:
        targets = {name for targets in table.references.values() for name, _ in targets}
        targets |= {name for name, _ in self.tables.referring_to(table.name)}
        return any(self._holds_users(name) for name in targets if name != table.name)

    def _is_group_of_users(self, table: TableFacts) -> bool:
        """A group of people that every user belongs to, and that other things belong to as well.

        Users say so themselves (``users.household_id``), or a table between both says who is in which team.
        """
        noun = defaults.group_of(table.name)
        if not noun:
            return False
        referring = {
            name
            for name, column in self.tables.referring_to(table.name)
            if name != table.name and defaults.is_group_key(column, table.name)
        }
        users = {name for name in referring if self._holds_users(name)}
        if users:
            return len(referring - users) >= _MIN_OF_GROUP
        if noun in defaults.RIGHTS_NOUNS:
            return False
        members = {name for name in referring if self._leads_to_users(name)}
        return bool(members) and len(referring) >= _MIN_OF_GROUP - 1

    def _leads_to_users(self, name: str) -> bool:
        facts = self.tables.get(name)
        return facts is not None and any(
            self._holds_users(target) and not defaults.is_actor(column)
            for column, targets in facts.references.items()
            for target, _ in targets
        )

    def _holds_users(self, name: str) -> bool:
        by_name = defaults.table_named(name)
        if by_name is not None and by_name.strong:
            return by_name.domain == "user"
        return any(
            named is not None and named.domain == "user" and named.noun == "user"
            for named in (defaults.named(column) for _, column in self.tables.referring_to(name))
        )


def _is_of(noun: str, table: str, suffix: bool) -> bool:
    if suffix and table.endswith((f"_{noun}", f"_{noun}s")):
        return True
    return defaults.is_row_of(noun, table)
