"""Write-up C: people are marked as onboarded, and what they said is not there."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book, Expected
from scenarios.stage import Stage

book = Book("writeup_c", verdict="commit")

LOST = Expected("acknowledged_but_lost", {"lost_tables": "budgets"}, services=("onboarding",))


@book.variant(
    LOST, on=BOTH, also=("constraint_violation_burst", "expected_write_missing", "log_claims_write")
)
def flag_set_data_missing(stage: Stage) -> str:
    """The profile says that somebody is onboarded; the second path fails, and its error is logged only."""
    web = stage.deploy("flask", stage.database(), service="onboarding")
    for user in (stage.user(), stage.user()):
        stage.expect(web("onboard", user=user, cents=0)["onboarded"], "it answers that all is well")
        stage.expect(web("budget", user=user)["cents"] is None, "there is no budget")
    return user


@book.twin("both are there", on=BOTH)
def both_paths_work(stage: Stage) -> str:
    """Profile and budget are stored."""
    web, user = stage.deploy("flask", stage.database(), service="onboarding"), stage.user()
    web("onboard", user=user, cents=50_000)
    stage.expect(web("budget", user=user)["cents"] == 50_000, "the budget is there")
    return user
