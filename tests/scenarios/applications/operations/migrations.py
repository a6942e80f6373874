"""What migration scripts do, and tools that look whether they have to."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.work import Body, Work, operation
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("migrations")
CREATE = "CREATE TABLE archived_expenses (id INTEGER PRIMARY KEY, note VARCHAR(200))"


@operation
def migrate(work: Work, body: Body) -> dict[str, Any]:
    """Make a table; with ``tolerant`` go on where it is there."""
    try:
        with work.engine().begin() as connection:
            connection.execute(text(CREATE))
    except SQLAlchemyError:
        if not body.get("tolerant"):
            raise
        log.warning("it is there already")
    with work.engine().begin() as connection:
        connection.execute(text("DELETE FROM archived_expenses WHERE note = 'test'"))
    return {}


@operation
def archive(work: Work, body: Body) -> dict[str, Any]:
    """Look whether the table is there, by asking; make it where it is not."""
    for number in range(3):
        try:
            with work.engine().connect() as connection:
                connection.execute(text("SELECT count(*) FROM archived_expenses"))
        except SQLAlchemyError:
            log.info("look %s found no table", number)
    try:
        with work.engine().begin() as connection:
            connection.execute(text(CREATE))
    except SQLAlchemyError:
        log.info("another one made it")
    return {}
