"""Write-up A from end to end: webhook and worker were split, and the key was changed on the way."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book, Expected
from scenarios.stage import Stage

book = Book("writeup_a", verdict="environment")

OLD, NEW = "user_id:raw", "user_id_hash:sha256"
SPLIT = Expected("env_split", {"table": "expenses"}, services=("webhook", "summaries"), versions=("2.4.0",))
MISMATCH = Expected("key_mismatch", {"table": "expenses"}, services=("webhook", "cron"))


@book.variant(SPLIT, MISMATCH, on=BOTH)
def summaries_stay_empty(stage: Stage) -> str:
    """The worker of 2.4.0 has the old DATABASE_URL; a job beside the webhook already reads by the new key."""
    main = stage.database("main")
    webhook = stage.deploy("fastapi", main, service="webhook", version="2.3.0", WRITE_KEYS=OLD, READ_KEYS=OLD)
    summaries = stage.deploy(
        "worker", stage.database("old"), service="summaries", version="2.4.0", READ_KEYS=OLD
    )
    cron = stage.deploy("worker", main, service="cron", version="2.4.0", READ_KEYS=NEW)
    for user in [stage.user() for _ in range(3)]:
        for cents in (350, 1280, 1800):
            webhook("store_expense", user=user, cents=cents)
        stage.expect(webhook("summary", user=user)["count"] == 3, "the webhook's own process sees them")
        stage.expect(summaries("summary", user=user)["count"] == 0, "the summary is empty")
        stage.expect(cron("summary", user=user)["count"] == 0, "nothing under the new key")
    return user


@book.variant(
    Expected("key_mismatch", {"table": "expenses"}, services=("webhook", "summaries")), verdict="keys"
)
def the_url_is_mended_first(stage: Stage) -> str:
    """The URL is right, and summaries are empty all the same: now only the key is wrong."""
    main = stage.database()
    webhook = stage.deploy("fastapi", main, service="webhook", version="2.3.0", WRITE_KEYS=OLD)
    summaries = stage.deploy("worker", main, service="summaries", version="2.4.1", READ_KEYS=NEW)
    for user in (stage.user(), stage.user()):
        webhook("store_expense", user=user)
        stage.expect(summaries("rebuild_summary", user=user)["total"] == 0, "a summary of nothing is built")
    return user


@book.twin("both are mended", on=BOTH)
def everything_is_mended(stage: Stage) -> str:
    """One database, both keys on every row, summaries by the new one."""
    main = stage.database()
    webhook = stage.deploy("fastapi", main, service="webhook", version="2.5.0", WRITE_KEYS=f"{OLD},{NEW}")
    summaries = stage.deploy("worker", main, service="summaries", version="2.5.0", READ_KEYS=NEW)
    user = stage.user()
    for cents in (350, 1280, 1800):
        webhook("store_expense", user=user, cents=cents)
    stage.expect(summaries("rebuild_summary", user=user)["total"] == 3430, "the summary is right")
    stage.expect(summaries("summary", user=user)["count"] == 3, "and the expenses are found")
    return user
