"""Write-up D: two services write one table, each under a key of its own for the same person."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("dual_writer", verdict="keys")

OLD, NEW = "user_id:raw", "user_id_hash:sha256"


def halves(stage: Stage, one: Application, two: Application, readers: dict[Application, int]) -> str:
    """Two users whose expenses go to both services; each reader finds its half."""
    for user in (stage.user(), stage.user()):
        for application, cents in ((one, 100), (two, 20), (one, 3)):
            application("store_expense", user=user, cents=cents)
        for reader, total in readers.items():
            stage.expect(reader("summary", user=user)["total"] == total, "half of it is found")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group={"table": "expenses", "keys": "user_id_hash (sha256)", "other_keys": "user_id (raw)"},
    services=("receipts", "web"),
    versions=("2.4.0",),
    also=("key_mismatch",),
)
def old_key_and_new_key(stage: Stage) -> str:
    """The web process fills user_id; a worker that was added for receipts fills user_id_hash only."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    receipts = stage.deploy(
        "worker", stage.database(), service="receipts", version="2.4.0", WRITE_KEYS=NEW, READ_KEYS=NEW
    )
    return halves(stage, web, receipts, {receipts: 20, web: 103})


@book.variant(
    on=BOTH,
    group={"table": "expenses", "keys": "user_id (sha256)", "other_keys": "user_id (raw)"},
    services=("app", "bot"),
    also=("key_mismatch", "identity_encoding_drift"),
)
def one_column_two_forms(stage: Stage) -> str:
    """An async app stores the SHA-256 in user_id, the older bot the bare id."""
    app = stage.deploy("fastapi", stage.database(), service="app", WRITE_KEYS="user_id:sha256")
    bot = stage.deploy("flask", stage.database(), service="bot", WRITE_KEYS=OLD, READ_KEYS=OLD)
    return halves(stage, bot, app, {bot: 103})


@book.variant(
    on=BOTH,
    group={"table": "profiles"},
    services=("chat", "forms"),
    tells=("of its own", "whom the requests were bound to"),
    also=("key_mismatch", "identity_encoding_drift"),
    verdict=None,
    declares="columns: {profiles.session_id: user}\n",
)
def numbers_of_their_own(stage: Stage) -> None:
    """Digits of a SHA-256 and an auto-increment in session_id; nobody has declared which function it is."""
    chat = stage.deploy("flask", stage.database(), service="chat", IDENTIFIER="hash")
    forms = stage.deploy("worker", stage.database(), service="forms", IDENTIFIER="number")
    for user in [stage.user() for _ in range(3)]:
        chat("save_profile", user=user, goal="save")
        forms("save_profile", user=user, goal="travel")
        stage.expect(chat("load_profile", user=user)["goals"] == ["save"], "each finds its own only")
        stage.expect(forms("load_profile", user=user)["goals"] == ["travel"], "each finds its own only")


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("both write the same key", on=BOTH)
def one_key(stage: Stage) -> str:
    """A web process and a worker that agree."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=NEW)
    receipts = stage.deploy("worker", stage.database(), service="receipts", WRITE_KEYS=NEW)
    return halves(stage, web, receipts, {web: 123, receipts: 123})


@book.twin("the same digits are the same key", on=BOTH)
def number_and_text(stage: Stage) -> str:
    """One binds the id as a number, the other one as text."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    receipts = stage.deploy(
        "flask", stage.database(), service="receipts", WRITE_KEYS="user_id:integer", READ_KEYS=OLD
    )
    return halves(stage, web, receipts, {web: 123, receipts: 123})


@book.twin("a row has both keys, so that either finds it", on=BOTH)
def both_keys_in_a_row(stage: Stage) -> str:
    """The new worker fills both columns; reads go by the one that every row has."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    receipts = stage.deploy(
        "fastapi", stage.database(), service="receipts", WRITE_KEYS=f"{OLD},{NEW}", READ_KEYS=OLD
    )
    return halves(stage, web, receipts, {web: 123, receipts: 123})


@book.twin("they are other people", on=BOTH)
def people_of_their_own(stage: Stage) -> str:
    """A partner's worker stores its own customers under the hash, and reads them so."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    partner = stage.deploy("worker", stage.database(), service="partner", WRITE_KEYS=NEW, READ_KEYS=NEW)
    user = halves(stage, web, web, {web: 123})
    halves(stage, partner, partner, {partner: 123})
    web("store_expense", user=user, cents=1)
    stage.expect(web("summary", user=user)["total"] == 124, "all of it is found")
    return user


@book.twin("the second key is filled in afterwards, by an update", on=BOTH)
def backfill(stage: Stage) -> str:
    """A job gives rows their hash, again and again, for readers of the next version."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    migrate = stage.deploy("worker", stage.database(), service="migrate")
    user = halves(stage, web, web, {web: 123})
    migrate("fill_hashes")
    web("store_expense", user=user, cents=1)
    migrate("fill_hashes")
    stage.expect(web("summary", user=user)["total"] == 124, "found by the old key")
    stage.expect(migrate("summary", user=user)["total"] == 124, "and by the new one")
    return user


@book.twin("the one had stopped before the other one began", on=BOTH)
def successor(stage: Stage) -> str:
    """The bot is replaced by an app that writes and reads the hash; old rows are filled in."""
    bot = stage.deploy("worker", stage.database(), service="bot", WRITE_KEYS=OLD, READ_KEYS=OLD)
    user = halves(stage, bot, bot, {bot: 123})
    bot.end()
    stage.deploy("script", stage.database(), service="migrate")("fill_hashes")
    app = stage.deploy("fastapi", stage.database(), service="app", WRITE_KEYS=NEW)
    app("store_expense", user=user, cents=1)
    stage.expect(app("summary", user=user)["total"] == 124, "all of it is found")
    return user


@book.twin("somebody in support acts for customers", on=BOTH)
def on_behalf_of_customers(stage: Stage) -> str:
    """The desk stores expenses for customers; its requests are bound to who sits there."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    desk = stage.deploy("flask", stage.database(), service="desk", WRITE_KEYS=OLD, READ_KEYS=OLD)
    clerk = stage.user()
    web("store_expense", user=clerk, cents=7)
    for customer in [stage.user() for _ in range(3)]:
        web("store_expense", user=customer, cents=100)
        desk("store_on_behalf", user=clerk, **{"for": customer}, cents=20)
        web("store_expense", user=clerk, cents=7)
        stage.expect(web("summary", user=customer)["total"] == 120, "all of it is found")
    return customer
