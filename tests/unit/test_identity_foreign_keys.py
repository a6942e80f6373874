"""What declared foreign keys say about columns: whom they lead to, and where a name is mistaken."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship

from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.identity.columns import IdentityColumns
from trueline.instrumentation.identity.tables import KnownTables, TableFacts
from trueline.instrumentation.statement import Planner

pytestmark = pytest.mark.sqlalchemy_matrix

#: Schema in short: table: columns, "->" before what a column refers to, "*" after a primary key.
Schema = dict[str, str]


def declare(schema: Schema) -> sa.MetaData:
    """Make the tables of ``{"users": "id* name", "orders": "id* owner->users.id"}``."""
    metadata = sa.MetaData()
    for table, columns in schema.items():
        name, _, rest = table.rpartition(".")[::-1]
        made: list[sa.Column[Any]] = []
        for column in columns.split():
            key = column.endswith("*")
            column, _, target = column.removesuffix("*").partition("->")
            references = [sa.ForeignKey(target)] if target else []
            made.append(sa.Column(column, sa.Integer, *references, primary_key=key))
        sa.Table(name, metadata, *made, schema=rest or None)
    return metadata


def context_of(statement: Any) -> Any:
    """What a planner gets of SQLAlchemy beside a statement's text."""
    return SimpleNamespace(compiled=statement.compile())


def knowing(schema: Schema, config: IdentityConfig | None = None) -> IdentityColumns:
    metadata = declare(schema)
    columns = IdentityColumns(config or IdentityConfig())
    assert columns.learn(context_of(sa.select(next(iter(metadata.tables.values())))))
    return columns


USERS = "id* email username"
CASES: list[tuple[str, Schema, dict[str, str | None]]] = [
    (
        "whatever it is called, what refers to a user is a user",
        {
            "users": USERS,
            "budgets": "id* session_id->users.id owner->users.id created_for->users.id amount",
        },
        {
            "budgets.session_id": "user",
            "budgets.owner": "user",
            "budgets.created_for": "user",
            "budgets.id": None,
            "budgets.amount": None,
            "users.id": "user",
            "users.email": "email",
            "users.username": "username",
        },
    ),
    (
        "an account that is none",
        {"users": USERS, "ledger_accounts": "id*", "entries": "id* account_id->ledger_accounts.id"},
        {"entries.account_id": None, "ledger_accounts.id": None},
    ),
    (
        "an account that is none, by a key of that name",
        {"ledger_accounts": "account_id*", "entries": "id* account_id->ledger_accounts.account_id"},
        {"entries.account_id": None, "ledger_accounts.account_id": None},
    ),
    (
        "a member of a set, an owner that is a machine",
        {"set_members": "id*", "hosts": "id*", "x": "id* member_id->set_members.id owner_id->hosts.id"},
        {"x.member_id": None, "x.owner_id": None},
    ),
    (
        "accounts are users where nothing else is",
        {"accounts": "id*", "notes": "id* account_id->accounts.id"},
        {"notes.account_id": "user", "accounts.id": "user"},
    ),
    (
        "accounts of users are numbered by themselves",
        {"users": USERS, "accounts": "id* user_id->users.id", "moves": "id* account_id->accounts.id"},
        {"moves.account_id": "account", "accounts.id": "account", "accounts.user_id": "user"},
    ),
    (
        "accounts that users belong to are numbered by themselves too",
        {"accounts": "id*", "users": "id* account_id->accounts.id"},
        {"users.account_id": "account", "accounts.id": "account", "users.id": "user"},
    ),
    (
        "customers beside users",
        {"users": USERS, "customers": "id* user_id->users.id", "orders": "id* customer_id->customers.id"},
        {"orders.customer_id": "customer", "customers.id": "customer"},
    ),
    (
        "customers without users",
        {"customers": "id*", "orders": "id* customer_id->customers.id buyer->customers.id"},
        {"orders.customer_id": "user", "orders.buyer": "user", "customers.id": "user"},
    ),
    (
        "a reference that was not declared",
        {"users": USERS, "accounts": "id* user_id->users.id", "moves": "id* account_id member_id user_id"},
        {"moves.account_id": "account", "moves.member_id": "user", "moves.user_id": "user"},
    ),
    (
        "an account at somebody else's, beside the user",
        {"users": USERS, "oauth": "id* user_id->users.id account_id owner_id", "notes": "id* account_id"},
        {
            "oauth.account_id": None,
            "oauth.user_id": "user",
            "oauth.owner_id": "user",
            "notes.account_id": "user",
        },
    ),
    (
        "user_id says who the users are",
        {
            "people": "id*",
            "logins": "id* user_id->people.id",
            "gifts": "id* giver->people.id taker->people.id",
        },
        {
            "people.id": "user",
            "logins.user_id": "user",
            "gifts.giver": "user",
            "gifts.taker": "user",
        },
    ),
    (
        "whoever is called after the row that it refers to",
        {
            "owners": "id*",
            "pets": "id* owner_id->owners.id",
            "authors": "id*",
            "b": "id* author_id->authors.id",
        },
        {"pets.owner_id": "user", "b.author_id": "user"},
    ),
    (
        "a key that is a foreign key",
        {"users": USERS, "admins": "id->users.id*", "rights": "id* admin_id->admins.id"},
        {"admins.id": "user", "rights.admin_id": "user", "rights.id": None},
    ),
    (
        "two users in one row, and a user's own manager",
        {
            "users": "id* manager_id->users.id",
            "transfers": "id* sender_id->users.id recipient_id->users.id",
        },
        {"transfers.sender_id": "user", "transfers.recipient_id": "user", "users.manager_id": "user"},
    ),
    (
        "another kind of key",
        {"users": "uid* name", "posts": "id* by_whom->users.uid", "events": "uid* kind"},
        {"posts.by_whom": "user", "users.uid": "user", "events.uid": None},
    ),
    (
        "a natural key",
        {"users": "username* name", "posts": "id* poster->users.username"},
        {"posts.poster": "user", "users.username": "user"},
    ),
    (
        "a circle",
        {"a": "id* b_id->b.id", "b": "id* a_id->a.id", "c": "id->d.id*", "d": "id->c.id*"},
        {"a.b_id": None, "b.a_id": None, "c.id": None, "d.id": None},
    ),
    (
        "who did it is not whose it is",
        {
            "users": USERS,
            "notes": "id* user_id->users.id created_by->users.id approved_by_id->users.id",
            "boards": "id* created_by_id->users.id updated_by_id->users.id",
            "logs": "id* actor_id->users.id",
        },
        {
            "notes.user_id": "user",
            "notes.created_by": None,
            "notes.approved_by_id": None,
            "boards.created_by_id": "user",
            "boards.updated_by_id": None,
            "logs.actor_id": None,
        },
    ),
    (
        "a reference to a message is no delivery",
        {"messages": "id*", "reactions": "id* message_id->messages.id", "inbox": "id* message_id"},
        {"reactions.message_id": None, "inbox.message_id": "message"},
    ),
    (
        "sessions",
        {
            "users": USERS,
            "user_sessions": "id* user_id->users.id",
            "hits": "id* session_id->user_sessions.id",
            "talks": "id* session_id->slots.id",
            "slots": "id*",
        },
        {"hits.session_id": "session", "talks.session_id": None},
    ),
    (
        "a household that everything belongs to is whose it is",
        {
            "users": "id* household_id->households.id role_id->roles.id",
            "households": "id*",
            "roles": "id*",
            **dict.fromkeys(("recipes", "lists", "plans"), "id* household_id->households.id"),
        },
        {"recipes.household_id": "household", "users.household_id": "household", "users.role_id": None},
    ),
    (
        "a group that only has rights is not",
        {
            "users": "id* group_id->groups.id",
            "groups": "id*",
            "rights": "id* group_id->groups.id",
        },
        {"users.group_id": None, "rights.group_id": None},
    ),
    (
        "a table between users and teams says that teams are groups of people",
        {
            "users": "id*",
            "teams": "id* name",
            "team_members": "id* team_id->teams.id user_id->users.id",
            "projects": "id* team_id->teams.id",
        },
        {"teams.id": "team", "projects.team_id": "team", "team_members.user_id": "user"},
    ),
    (
        "teams that nothing else refers to are a list, and so are those that no user is in",
        {
            "users": "id*",
            "teams": "id*",
            "team_members": "id* team_id->teams.id user_id->users.id",
            "clubs": "id*",
            "matches": "id* club_id->clubs.id",
            "stadiums": "id* club_id->clubs.id",
        },
        {"teams.id": None, "team_members.team_id": None, "clubs.id": None, "matches.club_id": None},
    ),
    (
        "groups of rights look like groups of people",
        {
            "auth_user": "id*",
            "groups": "id*",
            "auth_user_groups": "id* user_id->auth_user.id group_id->groups.id",
            "group_permissions": "id* group_id->groups.id",
            "forum_groups": "id* group_id->groups.id",
        },
        {"groups.id": None, "group_permissions.group_id": None, "auth_user_groups.group_id": None},
    ),
    (
        "who came last says nothing of whose it is",
        {
            "users": "id*",
            "forums": "id* last_post_user_id->users.id latest_editor_id->users.id",
            "posts": "id* user_id->users.id last_reader_id->users.id",
        },
        {
            "forums.last_post_user_id": None,
            "forums.latest_editor_id": None,
            "posts.user_id": "user",
            "posts.last_reader_id": None,
        },
    ),
    (
        "tenant_id says who the tenants are",
        {"companies": "id*", "users": "id* tenant_id->companies.id", "bills": "id* company_id->companies.id"},
        {"bills.company_id": "tenant", "companies.id": "tenant"},
    ),
    (
        "schemas and letters",
        {
            "auth.users": "id*",
            "shop.orders": "id* Owner->auth.users.id",
            "Buys": "id* buyerRef->auth.users.id",
        },
        {
            "shop.orders.Owner": "user",
            "orders.owner": "user",
            "auth.users.id": "user",
            "Buys.buyerRef": "user",
            "public.Buys.buyerRef": "user",
        },
    ),
    (
        "two tables of one name that disagree: the name decides",
        {
            "a.accounts": "id*",
            "b.ledger": "id*",
            "a.notes": "id* account_id->a.accounts.id",
            "b.notes": "id* account_id->b.ledger.id",
        },
        {"a.notes.account_id": "user", "b.notes.account_id": None, "notes.account_id": "user"},
    ),
]


@pytest.mark.parametrize(
    ("schema", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_columns(schema: Schema, expected: dict[str, str | None]) -> None:
    columns = knowing(schema)
    found = {name: columns.domain_of(*name.rpartition(".")[::2]) for name in expected}
    assert found == expected


def test_names_decide_where_nothing_is_declared() -> None:
    columns = knowing({"users": "id*", "notes": "id* account_id member_id"})
    assert columns.domain_of("elsewhere", "account_id") == "user"
    assert columns.domain_of("notes", "account_id") == "user"
    assert columns.domain_of("notes", "owner") is None


def test_what_the_configuration_says_goes_first() -> None:
    config = IdentityConfig(
        columns={"entries.account_id": "ledger", "people.id": "user"}, exclude=["notes.owner", "robots.id"]
    )
    columns = knowing(
        {
            "users": "id*",
            "people": "id*",
            "robots": "id* ",
            "ledger_accounts": "id*",
            "entries": "id* account_id->ledger_accounts.id",
            "notes": "id* owner->users.id guest->people.id robot->robots.id",
        },
        config,
    )
    found = [columns.domain_of("entries", "account_id")]
    found += [columns.domain_of("notes", name) for name in ("owner", "guest", "robot")]
    assert found == ["ledger", None, "user", None]


def test_the_way_to_an_identity_over_other_rows() -> None:
    columns = knowing(
        {
            "users": "id*",
            "orders": "id* org_id user_id->users.id",
            "order_items": "id* order_id->orders.id product_id->products.id",
            "products": "id*",
            "notes": "id* text customer_id",
            "lines": "id* note_id->notes.id line_id->lines.id",
            "forums": "id* last_order_id->orders.id",
        }
    )
    assert columns.ways_from("forums")[1] == ()
    assert columns.ways_from("lines")[1] == ((("lines.note_id", "notes.customer_id"), "user"),)
    assert columns.ways_from("order_items")[1] == ((("order_items.order_id", "orders.user_id"), "user"),)
    assert columns.ways_from("orders")[1] == ((("orders.user_id",), "user"),)
    assert columns.ways_from("products")[1] == ()
    assert columns.ways_from("unknown") == (None, ())
    assert columns.domain_of("order_items", "order_id") is None  # the row's way, not the value's


# -- where it is learnt from ------------------------------------------------------------------------------

SHOP: Schema = {"users": "id*", "orders": "id* owner->users.id"}


def test_every_kind_of_statement_leads_to_its_tables() -> None:
    for number in range(8):
        metadata = declare(SHOP)
        orders = metadata.tables["orders"]
        statements = [
            sa.select(orders.c.id).where(orders.c.owner == 1),
            sa.select(sa.func.count()).select_from(orders),
            sa.select(orders.alias("o").c.id),
            sa.insert(orders).values(owner=1),
            sa.update(orders).where(orders.c.id == 1).values(owner=2),
            sa.delete(orders).where(orders.c.owner == 1),
            sa.select(sa.select(orders.c.owner).cte("c").c.owner),
            sa.union_all(sa.select(orders.c.id), sa.select(orders.c.owner)),
        ]
        columns = IdentityColumns(IdentityConfig())
        assert columns.learn(context_of(statements[number])) == {"users", "orders"}, number
        assert columns.domain_of("orders", "owner") == "user"


def test_sql_text_leads_to_mapped_classes() -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "fk_text_people"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Visit(Base):
        __tablename__ = "fk_text_visits"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(sa.ForeignKey("fk_text_people.id"))
        guest: Mapped[int] = mapped_column(sa.ForeignKey(Person.id))

    columns = IdentityColumns(IdentityConfig())
    assert "fk_text_visits" in columns.learn(context_of(sa.text("SELECT 1")))
    assert columns.domain_of("fk_text_visits", "guest") == "user"
    again = IdentityColumns(IdentityConfig())
    assert "fk_text_visits" in again.learn(SimpleNamespace(compiled=None))


def test_metadata_is_read_again_when_it_has_grown() -> None:
    metadata = declare(SHOP)
    columns = IdentityColumns(IdentityConfig())
    context = context_of(sa.select(metadata.tables["users"]))
    assert columns.learn(context)
    assert columns.learn(context) == frozenset()
    assert columns.domain_of("gifts", "giver") is None
    sa.Table("gifts", metadata, sa.Column("giver", sa.ForeignKey("users.id")))
    assert "gifts" in columns.learn(context)
    assert columns.domain_of("gifts", "giver") == "user"


def test_a_key_that_is_not_its_columns_name() -> None:
    metadata = sa.MetaData()
    sa.Table("users", metadata, sa.Column("user_no", sa.Integer, key="number", primary_key=True))
    orders = sa.Table("orders", metadata, sa.Column("buyer", sa.ForeignKey("users.number")))
    columns = IdentityColumns(IdentityConfig())
    columns.learn(context_of(sa.select(orders)))
    assert columns.domain_of("orders", "buyer") == "user"
    facts = columns.tables.get("orders")
    assert facts is not None
    assert facts.references == {"buyer": (("users", "user_no"),)}


def test_composite_keys() -> None:
    metadata = sa.MetaData()
    sa.Table("users", metadata, *(sa.Column(n, sa.Integer, primary_key=True) for n in ("tenant_id", "id")))
    orders = sa.Table(
        "orders",
        metadata,
        sa.Column("t", sa.Integer),
        sa.Column("u", sa.Integer),
        sa.ForeignKeyConstraint(["t", "u"], ["users.tenant_id", "users.id"]),
    )
    columns = IdentityColumns(IdentityConfig())
    columns.learn(context_of(sa.select(orders)))
    assert (columns.domain_of("orders", "t"), columns.domain_of("orders", "u")) == ("tenant", "user")


def test_declarations_are_looked_at_once_a_text() -> None:
    metadata = declare(SHOP)
    seen: list[str] = []

    class Watched:
        """An execution context that tells when its compiled statement is asked for."""

        @property
        def compiled(self) -> Any:
            seen.append("asked")
            return SimpleNamespace(statement=sa.select(metadata.tables["orders"]))

    planner = Planner(IdentityConfig())
    long = "SELECT * FROM orders WHERE owner = ? AND id IN (" + ", ".join(["?"] * 3000) + ")"
    for text in ("SELECT * FROM orders WHERE owner = ?", long):
        seen.clear()
        for _ in range(5):
            plan = planner.plan(text, "sqlite", Watched())
            assert [use.column for use in plan.identities] == ["orders.owner"]
        assert len(seen) == 1


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_that_start_together_all_know() -> None:
    schema = {"users": "id*", **{f"t{number}": "id* owner->users.id" for number in range(200)}}
    for _ in range(5):
        metadata = declare(schema)
        planner = Planner(IdentityConfig())
        barrier = threading.Barrier(8)
        found: list[str] = []

        def work(
            at: int, planner: Planner = planner, metadata: sa.MetaData = metadata, barrier: Any = barrier
        ) -> None:
            context = context_of(sa.select(metadata.tables[f"t{at}"]))
            barrier.wait()
            plan = planner.plan(f"SELECT * FROM t{at} WHERE owner = ?", "sqlite", context)
            found.extend(use.column for use in plan.identities)  # noqa: B023

        threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [f"t{at}.owner" for at in range(8)]


# -- a guest ----------------------------------------------------------------------------------------------


def test_no_mapper_is_configured() -> None:
    one = registry()

    @one.mapped
    class Broken:
        __tablename__ = "fk_broken"
        id: Mapped[int] = mapped_column(primary_key=True)
        other: Mapped[Any] = relationship("NoSuchClass")

    columns = IdentityColumns(IdentityConfig())
    columns.learn(context_of(sa.text("SELECT 1")))
    columns.learn(context_of(sa.select(Broken.__table__)))  # type: ignore[attr-defined]
    assert columns.tables.get("fk_broken") is not None
    mapper = Broken.__mapper__  # type: ignore[attr-defined]
    assert not mapper.configured
    one.dispose()


def test_nothing_of_the_application_is_kept_alive() -> None:
    metadata = declare(SHOP)
    columns = IdentityColumns(IdentityConfig())
    columns.learn(context_of(sa.select(metadata.tables["orders"])))
    gone = weakref.ref(metadata)
    del metadata
    gc.collect()
    assert gone() is None
    assert columns.domain_of("orders", "owner") == "user"


def test_a_foreign_key_to_nowhere_is_left_out() -> None:
    metadata = sa.MetaData()
    table = sa.Table(
        "x", metadata, sa.Column("a", sa.ForeignKey("missing.id")), sa.Column("b", sa.ForeignKey("users.id"))
    )
    columns = IdentityColumns(IdentityConfig())
    columns.learn(context_of(sa.select(table)))
    assert columns.domain_of("x", "a") is None
    assert columns.domain_of("x", "b") == "user"  # by the name of what it refers to


class Hostile:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "context", [Hostile(), SimpleNamespace(compiled=Hostile()), SimpleNamespace(compiled=3), 5], ids=range(4)
)
def test_hostile_contexts(context: object) -> None:
    columns = IdentityColumns(IdentityConfig())
    columns.learn(context)
    assert columns.domain_of("expenses", "user_id") == "user"


def test_what_is_known_is_bounded() -> None:
    tables = KnownTables()
    for number in range(6000):
        tables.learn(TableFacts(f"t{number}"))
    assert len(tables) == 5000


@pytest.mark.parametrize("migration_first", [True, False])
def test_the_few_columns_that_a_migration_declares_take_nothing_away(migration_first: bool) -> None:
    columns = IdentityColumns(IdentityConfig())
    whole = declare({"users": "id*", "notes": "id* title keeper->users.id"})
    part = declare({"notes": "id* title"})
    for metadata in (part, whole) if migration_first else (whole, part):
        columns.learn(context_of(sa.select(metadata.tables["notes"])))
    assert columns.domain_of("notes", "keeper") == "user"
    assert columns.ways_from("notes")[1] == ((("notes.keeper",), "user"),)


def test_a_table_that_changes_all_the_time_is_left_as_it_is() -> None:
    columns = IdentityColumns(IdentityConfig())
    learnt = 0
    for number in range(40):
        metadata = declare({"users": "id*", "things": f"id* owner{number}->users.id"})
        learnt += bool(columns.learn(context_of(sa.select(metadata.tables["things"]))))
    assert 2 < learnt < 12
    assert columns.domain_of("things", "owner0") is None
    assert len(columns.tables.referring_to("users")) == 1
