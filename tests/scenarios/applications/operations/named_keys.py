"""SQL as text, with the key column named by the setting KEY_COLUMN: written by hand, and migrated."""

from __future__ import annotations

from typing import Any

from scenarios.applications.work import Body, Work, operation
from sqlalchemy import text


@operation
def rename_key(work: Work, body: Body) -> dict[str, Any]:
    """The migration: expenses.``old`` becomes expenses.``new``."""
    with work.engine().begin() as connection:
        connection.execute(text(f"ALTER TABLE expenses RENAME COLUMN {body['old']} TO {body['new']}"))
    return {}


@operation
def store_by_name(work: Work, body: Body) -> dict[str, Any]:
    """Insert an expense."""
    column = work.setting("KEY_COLUMN", "user_id")
    insert = text(
        f"INSERT INTO expenses ({column}, note, amount_cents, spent_at) "
        "VALUES (:user, 'x', 1, CURRENT_TIMESTAMP)"
    )
    with work.engine().begin() as connection:
        connection.execute(insert, {"user": body["user"]})
    return {}


@operation
def list_by_name(work: Work, body: Body) -> dict[str, Any]:
    """A user's expenses."""
    column = work.setting("KEY_COLUMN", "user_id")
    with work.engine().connect() as connection:
        found = connection.execute(
            text(f"SELECT note FROM expenses WHERE {column} = :user"), {"user": body["user"]}
        )
        return {"count": len(found.all())}
