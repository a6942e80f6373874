"""Tenants by database and by schema."""

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    BILLING_OWN,
    CRM_API,
    CRM_BILLING,
)
from scenarios.noise.play import Play


def contact_written() -> Play:
    """Each tenant has its rows in one of three databases; some move at half time."""
    play = Play("contact written", 12)
    with (
        play.request(CRM_API, "POST /contacts", bound=("tenant",), status=201) as entry,
        entry.transaction() as work,
    ):
        work.insert("contacts", "tenant_id raw tenant")
        work.insert("users", "id integer user", "tenant_id raw tenant")
    return play


def contacts_read() -> Play:
    """Read where they are written."""
    play = Play("contacts read", 90)
    with play.request(CRM_API, "GET /contacts", bound=("tenant",)) as entry, entry.transaction() as work:
        work.select("contacts", "tenant_id raw tenant", rows=40)
        work.select("users", "id integer user", rows=1)
        work.rollback("not_committed")
    return play


def statement_written() -> Play:
    """Each tenant has a schema."""
    play = Play("statement of account written", 8)
    with play.request(CRM_BILLING, "POST /statements", bound=("tenant",), status=201) as entry:
        with entry.transaction(BILLING_OWN) as work:
            work.select("users", "id integer user", rows=1)
            work.rollback("not_committed")
        with entry.transaction() as work:
            work.insert("accounts_due", "tenant_id raw tenant")
    return play


def statement_read() -> Play:
    """Read in the schema where it is written."""
    play = Play("statement of account read", 50)
    with (
        play.request(CRM_BILLING, "GET /statements", bound=("tenant",)) as entry,
        entry.transaction() as work,
    ):
        work.select("accounts_due", "tenant_id raw tenant", rows=2)
        work.rollback("not_committed")
    return play


def copy_tenants(environment: str) -> Play:
    play = Play("tenants copied", environment=environment)
    with play.script(CRM_API, "move_tenants") as entry, entry.transaction() as work:
        work.insert("contacts", rows=20000)
        work.insert("users", rows=20000)
    return play


def fill_own_users(environment: str) -> Play:
    """A table of the same name in a service's own database, filled by a migration."""
    play = Play("own users filled", environment=environment)
    with play.script(CRM_BILLING, "migrate") as entry, entry.transaction(BILLING_OWN) as work:
        work.insert("users", rows=9000)
    return play


PLAYS: Final = (
    contact_written,
    contacts_read,
    statement_written,
    statement_read,
)
