"""Write-up B: an AI was added to the expense tracker. Its plan of verification, before and after."""

from __future__ import annotations

from scenarios.scenario import Book, Expected
from scenarios.stage import Application, Stage

book = Book("writeup_b", verdict="commit")

LOST = {"lost_tables": "expenses"}
ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write", "ai_call_in_transaction")
#: Nobody listens there: the provider cannot be reached.
NO_NETWORK = {"MODEL_URL": "http://127.0.0.1:9", "AI_CLIENT": "bare"}


def bot(stage: Stage, **settings: str) -> Application:
    """The bot as it was when the expenses went missing: the model is asked inside of the transaction."""
    return stage.deploy(
        "fastapi", stage.database(), service="bot", version="3.0", settings={"AI": "inline", **settings}
    )


def mended(stage: Stage, **settings: str) -> Application:
    """The bot as it should be: what the user sent is committed first."""
    later = {"AI": "after_commit", "ACKNOWLEDGE": "on_success"}
    return stage.deploy(
        "fastapi", stage.database(), service="bot", version="3.1", settings={**later, **settings}
    )


@book.variant(Expected("rollback_after_ai_error", LOST, services=("bot",), versions=("3.0",)), also=ALSO)
def ai_on_with_no_network(stage: Stage) -> str:
    """Step 2, before: AI on, no network. Every message is acknowledged, and nothing is stored."""
    application = bot(stage, **NO_NETWORK)
    for user in [stage.user() for _ in range(4)]:
        stage.expect(
            not application("store_expense", user=user)["stored"], "it answers 200 and stores nothing"
        )
    stage.expect(application("summary", user=user)["count"] == 0, "the expense is gone")
    return user


@book.variant(
    Expected("rollback_after_ai_error", {"lost_tables": "expenses, messages"}, services=("bot",)), also=ALSO
)
def the_same_message_twice(stage: Stage) -> str:
    """Step 3, before: the same message twice, while the model is down. Neither delivery is stored."""
    application, user = bot(stage), stage.user()
    for _ in range(2):
        application("store_expense", user=user, message=f"m-{user}", model="fails")
    stage.expect(application("summary", user=user)["count"] == 0, "the expense is gone")
    return user


@book.twin("nothing asks a model")
def ai_off(stage: Stage) -> str:
    """Step 1: AI off. Expenses are stored and found."""
    application, user = bot(stage, AI="off"), stage.user()
    application("store_expense", user=user)
    stage.expect(application("summary", user=user)["count"] == 1, "it is there")
    return user


@book.twin("what the user sent is committed before the model is asked")
def ai_on_with_no_network_mended(stage: Stage) -> str:
    """Step 2, after the mend: AI on, no network. The expense is stored without a category."""
    application, user = mended(stage, **NO_NETWORK), stage.user()
    stage.expect(application("store_expense", user=user)["stored"], "it is stored")
    stage.expect(application("summary", user=user)["count"] == 1, "it is there")
    return user


@book.twin("the second delivery meets the first one")
def the_same_message_twice_mended(stage: Stage) -> str:
    """Step 3, after the mend: the same message twice makes one expense."""
    application, user = mended(stage), stage.user()
    for _ in range(2):
        stage.expect(application("store_expense", user=user, message=f"m-{user}")["stored"], "both are taken")
    stage.expect(application("summary", user=user)["count"] == 1, "it is there once")
    return user


@book.twin("reads meet writes")
def summary_and_identity_search(stage: Stage) -> str:
    """Steps 4 and 5: the summary adds up, and a search by identity finds every row by either key."""
    application, user = mended(stage), stage.user()
    for cents in (350, 1280):
        application("store_expense", user=user, cents=cents)
    stage.expect(application("summary", user=user)["total"] == 1630, "the summary adds up")
    for keys in ("user_id:raw", "user_id_hash:sha256"):
        search = stage.deploy("script", stage.database(), service="search", READ_KEYS=keys)
        stage.expect(search("summary", user=user)["count"] == 2, "the search finds both")
    return user
