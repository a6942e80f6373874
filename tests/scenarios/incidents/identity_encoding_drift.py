"""Write-up A: the key is cut, upper-cased or no longer hashed, and new rows do not meet the old ones."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("identity_encoding_drift", verdict="keys")

HASH = "user_id_hash:sha256"
#: So many users make a form the usual one.
STEADY = 10


def drift(column: str, old: str, new: str) -> dict[str, str]:
    """The group of a finding on a column of expenses."""
    return {"table": "expenses", "column": f"expenses.{column}", "old_form": old, "new_form": new}


def spend(stage: Stage, web: Application, count: int) -> list[str]:
    """So many users, each with an expense."""
    users = [stage.user() for _ in range(count)]
    for user in users:
        web("store_expense", user=user, cents=350)
    return users


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group=drift("user_id_hash", "sha256", "raw"),
    services=("web",),
    versions=("2.4.0",),
    tells=("no longer hashed",),
    also=("key_mismatch",),
)
def hash_that_was_dropped(stage: Stage) -> str:
    """A refactoring loses the call of the hash: from 2.4.0 on the bare id is in user_id_hash."""
    web = stage.deploy("flask", stage.database(), version="2.3.0", WRITE_KEYS=HASH)
    worker = stage.deploy("worker", stage.database())
    user = spend(stage, web, STEADY)[-1]
    web.end()
    web = stage.deploy("flask", stage.database(), version="2.4.0", WRITE_KEYS="user_id_hash:raw")
    for other in (user, *spend(stage, web, 2)):
        web("store_expense", user=other, cents=1280)
    stage.expect(worker("summary", user=user)["total"] == 350, "the old expense is found, the new one is not")
    return user


@book.variant(
    on=BOTH,
    group=drift("user_id_hash", "sha256", "sha256/upper"),
    services=("web",),
    versions=("2.4.0",),
    tells=("upper-cased", "lower(user_id_hash)"),
    also=("key_mismatch",),
)
def capitals(stage: Stage) -> str:
    """The next version of an async web process stores the hash in capitals."""
    web = stage.deploy("fastapi", stage.database(), version="2.3.0", WRITE_KEYS=HASH)
    spend(stage, web, STEADY)
    web.end()
    web = stage.deploy("fastapi", stage.database(), version="2.4.0", WRITE_KEYS="user_id_hash:upper")
    user = spend(stage, web, 3)[-1]
    stage.expect(web("summary", user=user)["count"] == 0, "a new user's expense is not found")
    return user


@book.variant(
    on=BOTH,
    group=drift("user_id_hash", "sha256", "sha256/32"),
    services=("worker",),
    versions=("8",),
    tells=("cut",),
    also=("key_mismatch",),
)
def cut_by_a_job(stage: Stage) -> str:
    """The worker that stores expenses cuts the hash to 32 digits, as an older table had it."""
    worker = stage.deploy("worker", stage.database(), version="7", WRITE_KEYS=HASH)
    user = spend(stage, worker, STEADY)[-1]
    worker.end()
    worker = stage.deploy("worker", stage.database(), version="8", WRITE_KEYS="user_id_hash:cut")
    for other in (user, *spend(stage, worker, 2)):
        worker("store_expense", user=other, cents=1280)
    web = stage.deploy("flask", stage.database())
    stage.expect(web("summary", user=user)["count"] == 1, "the new expense is not found")
    return user


@book.variant(
    group=drift("user_id", "raw", "sha256"),
    services=("web",),
    versions=("2.4.0",),
    tells=("too long for the column", "22001"),
    verdict="commit",
)
def too_long_for_the_column(stage: Stage) -> str:
    """The next version stores the SHA-256 in a column that is as wide as the id: PostgreSQL refuses it."""
    stage.sql(stage.database(), "ALTER TABLE expenses ALTER user_id TYPE varchar(20)")
    settings = {"ACKNOWLEDGE": "on_success", "READ_KEYS": "user_id:raw"}
    web = stage.deploy(
        "flask", stage.database(), version="2.3.0", settings=settings, WRITE_KEYS="user_id:raw"
    )
    spend(stage, web, STEADY)
    web.end()
    web = stage.deploy(
        "flask", stage.database(), version="2.4.0", settings=settings, WRITE_KEYS="user_id:sha256"
    )
    for _ in range(2):
        user = stage.user()
        stage.expect(web.ask("store_expense", user=user).status == 503, "the expense is refused")
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is not there")
    return user


@book.variant(
    on=BOTH, group=drift("user_id", "raw", "sha256"), services=("web",), also=("key_mismatch", "dual_writer")
)
def one_of_two_instances(stage: Stage) -> str:
    """Two instances of one version, of which one has a setting of its own: each user is there twice."""
    plain, hashing = (
        stage.deploy("flask", stage.database(), WRITE_KEYS=f"user_id:{form}", READ_KEYS="user_id:raw")
        for form in ("raw", "sha256")
    )
    for user in (stage.user(), stage.user()):
        plain("store_expense", user=user, cents=350)
        hashing("store_expense", user=user, cents=1280)
        stage.expect(plain("summary", user=user)["total"] == 350, "half of the expenses are found")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin(
    "both forms are declared",
    on=BOTH,
    declares="columns:\n  expenses.user_id_hash: {domain: user, encodings: [sha256, sha256/upper]}\n",
)
def declared_forms(stage: Stage) -> str:
    """The next version writes capitals, by design; reads go by the id, which is in every row."""
    settings = {"READ_KEYS": "user_id:raw"}
    web = stage.deploy("flask", stage.database(), version="1", settings=settings)
    user = spend(stage, web, STEADY)[-1]
    keys = "user_id:raw,user_id_hash:upper"
    web = stage.deploy("flask", stage.database(), version="2", settings=settings, WRITE_KEYS=keys)
    for other in (user, *spend(stage, web, 3)):
        web("store_expense", user=other)
    stage.expect(web("summary", user=user)["count"] == 2, "both are found")
    return user


@book.twin("the same digits are the same form", on=BOTH)
def integer_and_text(stage: Stage) -> str:
    """The next version binds the id as a number."""
    settings = {"READ_KEYS": "user_id:raw"}
    web = stage.deploy("flask", stage.database(), version="1", settings=settings, WRITE_KEYS="user_id:raw")
    user = spend(stage, web, STEADY)[-1]
    web = stage.deploy(
        "flask", stage.database(), version="2", settings=settings, WRITE_KEYS="user_id:integer"
    )
    for other in (user, *spend(stage, web, 3)):
        web("store_expense", user=other)
    stage.expect(web("summary", user=user)["count"] == 2, "both are found")
    return user


@book.twin("old rows were given the new form", on=BOTH)
def planned_move(stage: Stage) -> str:
    """A migration rewrites the keys, then the next version writes and reads the new form."""
    web = stage.deploy(
        "flask", stage.database(), version="1", WRITE_KEYS="user_id:raw", READ_KEYS="user_id:raw"
    )
    users = spend(stage, web, STEADY)
    web.end()
    migrate = stage.deploy("script", stage.database(), service="migrate")
    done = migrate("backfill_keys", users=users, column="user_id", old="raw", new="sha256")
    stage.expect(done["changed"] == STEADY, "every row is moved")
    web = stage.deploy(
        "flask", stage.database(), version="2", WRITE_KEYS="user_id:sha256", READ_KEYS="user_id:sha256"
    )
    for other in (users[-1], *spend(stage, web, 3)):
        web("store_expense", user=other)
    stage.expect(web("summary", user=users[-1])["count"] == 2, "both are found")
    return users[-1]


@book.twin("they are other people, and each is read as it is written", on=BOTH)
def partner_with_its_own_form(stage: Stage) -> str:
    """A partner's import has always stored its own customers in capitals, and its portal reads them so."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=HASH)
    partner = stage.deploy(
        "worker",
        stage.database(),
        service="partner",
        WRITE_KEYS="user_id_hash:upper",
        READ_KEYS="user_id_hash:upper",
    )
    user = spend(stage, web, STEADY)[-1]
    customer = spend(stage, partner, STEADY)[-1]
    web("store_expense", user=user)
    stage.expect(web("summary", user=user)["count"] == 2, "ours are found")
    stage.expect(partner("summary", user=customer)["count"] == 1, "the partner's are found")
    return customer


@book.twin("what is rolled back is not there", on=BOTH)
def tried_and_rolled_back(stage: Stage) -> str:
    """The next version's new form is only tried, in transactions that are rolled back."""
    web = stage.deploy("flask", stage.database(), version="1", WRITE_KEYS=HASH)
    users = [stage.user() for _ in range(STEADY)]
    for user in users:
        web("check_expense", user=user)
    trial = stage.deploy("flask", stage.database(), version="2", WRITE_KEYS="user_id_hash:upper")
    for user in users[:4]:
        trial("check_expense", user=user, check=True)
        stage.expect(trial("summary", user=user)["count"] == 1, "only the old one is there")
    web("check_expense", user=user)
    stage.expect(web("summary", user=user)["count"] == 2, "the old version goes on")
    return user
