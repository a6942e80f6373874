"""How each incident and each benign twin happens: through the application's own front doors, nothing else."""

from __future__ import annotations

from trueline.monitor.demo.stage import Stage, eventually, expect

PURCHASES = ("coffee 3.50", "lunch 12.80", "taxi 18")


# -- a service reads from another database than the one that is written ---------------------------------


def env_split(stage: Stage) -> None:
    """The worker was deployed with the DATABASE_URL of the database from before the move."""
    web, worker = stage.web("lisbon/web"), stage.worker("lisbon/worker")
    for _ in range(3):
        user = stage.user()
        for purchase in PURCHASES:
            web.say(user, purchase)
        expect(web.summary(user) == len(PURCHASES), "the web process sees the expenses")
        expect(worker.summary(user)["count"] == 0, "the worker's summary is empty")


def replica(stage: Stage) -> None:
    """The worker reads a physical replica of the database that the web process writes."""
    user = stage.user()
    for purchase in PURCHASES:
        stage.web("zurich/web").say(user, purchase)
    worker = stage.worker("zurich/worker")
    eventually(lambda: worker.summary(user)["count"] == len(PURCHASES), "the replica has the expenses")


def shards(stage: Stage) -> None:
    """Users are spread over two databases."""
    web = stage.web("madrid/web")
    for _ in range(6):
        user = stage.user()
        web.say(user, "lunch 12.80")
        expect(web.summary(user) == 1, "a user is read where he is written")


def own_database(stage: Stage) -> None:
    """The worker keeps the merchants' receipts in a database of its own."""
    worker = stage.worker("zurich/worker")
    worker.import_receipts([("Coop", "R-1001", 1280), ("Migros", "R-1001", 350)])
    expect(worker.receipt("Migros", "R-1001") == 350, "a receipt is found")


def staging(stage: Stage) -> None:
    """The same users try the next version in staging, which has its own database."""
    user = stage.user()
    stage.web("zurich/web").say(user, "coffee 3.50")
    stage.web("zurich/web-staging").say(user, "train 7.20")
    worker = stage.worker("zurich/worker")
    eventually(lambda: worker.summary(user)["count"] == 1, "production counts production's expenses")


# -- a column is written and another one is read --------------------------------------------------------


def key_mismatch(stage: Stage) -> None:
    """The worker reads by user_id_hash; the web process that is to fill it has not been deployed."""
    web, worker = stage.web("oslo/web"), stage.worker("oslo/worker")
    for _ in range(3):
        user = stage.user()
        for purchase in PURCHASES:
            web.say(user, purchase)
        expect(worker.summary(user)["count"] == 0, "the summary is empty")


def both_columns(stage: Stage) -> None:
    """Rows carry both keys, summaries read one of them."""
    user = stage.user()
    stage.web("zurich/web").say(user, "book 20")
    expect(stage.web("zurich/web").summary(user) == 1, "the row is found by its hash")


def digits(stage: Stage) -> None:
    """The web process writes 12345, the worker asks for '12345'."""
    user = stage.user()
    stage.web("zurich/web").set_budget(user, 50_000)
    worker = stage.worker("zurich/worker")
    eventually(lambda: worker.summary(user)["left_cents"] == 50_000, "the budget is found")


def either_key(stage: Stage) -> None:
    """Old rows have one key, and the read accepts both."""
    user = stage.user()
    stage.web("madrid/web").say(user, "book 20")
    expect(stage.web("madrid/web").summary(user) == 1, "the row is found by its old key")


# -- an AI call fails and takes the write with it -------------------------------------------------------


def rollback_after_ai_error(stage: Stage) -> None:
    """The model times out inside the transaction; the chat platform is told that all is well."""
    web = stage.web("vienna/web")
    happy = stage.user()
    web.say(happy, "coffee 3.50")
    expect(web.summary(happy) == 1, "with a working model the expense is stored")
    stage.outage("vienna", "timeout")
    for purchase in PURCHASES:
        user = stage.user()
        expect(web.say(user, purchase) == 200, "the webhook answers 200")
        expect(web.summary(user) == 0, "the expense is gone")


def fails_after_commit(stage: Stage) -> None:
    """The model fails when the expense is already committed."""
    user = stage.user()
    stage.outage("zurich", "error")
    stage.web("zurich/web").say(user, "taxi 18")
    stage.outage("zurich", None)
    expect(stage.web("zurich/web").summary(user) == 1, "the expense is stored")


def commits_anyway(stage: Stage) -> None:
    """The model times out inside the transaction, the code goes on without it."""
    user = stage.user()
    stage.outage("madrid", "timeout")
    stage.web("madrid/web").say(user, "taxi 18")
    stage.outage("madrid", None)
    expect(stage.web("madrid/web").summary(user) == 1, "the expense is stored")


def unrelated_rollback(stage: Stage) -> None:
    """The model fails and is done without; then the expense itself is invalid."""
    user = stage.user()
    stage.outage("madrid", "error")
    stage.web("madrid/web").say(user, "lunch 0")
    stage.outage("madrid", None)
    expect(stage.web("madrid/web").summary(user) == 0, "an expense of nothing is refused")


def retry_lands(stage: Stage) -> None:
    """The model fails, the webhook says so, the platform delivers again."""
    web = stage.web("athens/web")
    user, message = stage.user(), f"m-{stage.user()}"
    stage.outage("athens", "error")
    expect(web.say(user, "lunch 12.80", message) == 503, "the webhook answers 503")
    stage.outage("athens", None)
    expect(web.say(user, "lunch 12.80", message) == 200, "the second delivery is taken")
    expect(web.summary(user) == 1, "the expense is stored once")


# -- a constraint refuses rows that are right -----------------------------------------------------------


def constraint_violation_burst(stage: Stage) -> None:
    """Two merchants use the same receipt numbers; a constraint allows each number once."""
    worker = stage.worker("dublin/worker")
    numbers = [f"R-{number}" for number in range(2041, 2046)]
    first = worker.import_receipts(("Tesco", number, 1000 + index) for index, number in enumerate(numbers))
    expect(all(first), "the first merchant's receipts are stored")
    second = worker.import_receipts(("Dunnes", number, 2000 + index) for index, number in enumerate(numbers))
    expect(not any(second), "the second merchant's receipts are refused")


def on_conflict(stage: Stage) -> None:
    """An import is repeated; receipts that are known are kept."""
    worker = stage.worker("zurich/worker")
    receipts = [("Coop", f"R-{number}", number) for number in range(2001, 2006)]
    for _ in range(2):
        expect(all(worker.import_receipts(receipts)), "no error")


def delivered_twice(stage: Stage) -> None:
    """The platform delivers a message five times; the first one is stored, the rest meet its unique id."""
    user, message = stage.user(), f"m-{stage.user()}"
    for _ in range(5):
        expect(stage.web("zurich/web").say(user, "coffee 3.50", message) == 200, "the webhook answers 200")
    expect(stage.web("zurich/web").summary(user) == 1, "the expense is stored once")


def suite_breaks_constraint(stage: Stage) -> None:
    """A test suite checks that the strict constraint refuses what it is to refuse."""
    worker = stage.worker("dublin/worker-test")
    worker.import_receipts(("first", f"T-{number}", 1) for number in range(4))
    refused = worker.import_receipts(("second", f"T-{number}", 1) for number in range(4))
    expect(not any(refused), "the constraint refuses")
