"""Write-up D: two systems onboard people into one table, each under its own number for the same person."""

from __future__ import annotations

from scenarios.scenario import Book, Expected
from scenarios.stage import Stage

book = Book("writeup_d", verdict=None)

TWICE = Expected("dual_writer", {"table": "profiles"}, services=("chat", "forms"))
#: session_id holds what the function of the first system makes of a user; forms numbers people itself.
DECLARED = """
version: 1
columns: {profiles.session_id: user}
derivations: {clerk_to_int: "scenarios.applications.operations.onboarding:clerk_to_int"}
"""


@book.variant(TWICE, also=("key_mismatch", "identity_encoding_drift"))
def two_numbers_for_one_person(stage: Stage) -> None:
    """The chat writes digits of a SHA-256 into session_id, the forms an auto-increment."""
    stage.declare(DECLARED)
    chat = stage.deploy("flask", stage.database(), service="chat", IDENTIFIER="hash")
    forms = stage.deploy("worker", stage.database(), service="forms", IDENTIFIER="number")
    for user in [stage.user() for _ in range(3)]:
        chat("save_profile", user=user, goal="save")
        stage.expect(forms("load_profile", user=user)["goals"] == [], "the forms do not find it")
        forms("save_profile", user=user, goal="travel")
        stage.expect(chat("load_profile", user=user)["goals"] == ["save"], "the chat finds its own only")


@book.twin("both use the same number", verdict="healthy")
def two_systems_one_number(stage: Stage) -> str:
    """Both systems go by the SHA-256."""
    stage.declare(DECLARED)
    chat = stage.deploy("flask", stage.database(), service="chat", IDENTIFIER="hash")
    forms = stage.deploy("worker", stage.database(), service="forms", IDENTIFIER="hash")
    user = stage.user()
    chat("save_profile", user=user, goal="save")
    forms("save_profile", user=user, goal="travel")
    stage.expect(len(chat("load_profile", user=user)["goals"]) == 2, "each finds both")
    return user
