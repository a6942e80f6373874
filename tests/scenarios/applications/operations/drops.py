"""Field photos: a monitor takes the numbers of places (drops) from what crews send, one row each."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.tables import Drop
from scenarios.applications.work import Body, Refused, Work, operation
from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

log = logging.getLogger("drops")


@operation
def take_drops(work: Work, body: Body) -> dict[str, Any]:
    """Store ``numbers`` of a ``day``, each in a transaction of its own.

    ON_DUPLICATE: raise (the error is logged and the next one taken), nothing (ON CONFLICT DO NOTHING on
    number and day), update (upsert on number and day), answer (the error is told to the caller).
    """
    stored = []
    for number in body["numbers"]:
        try:
            _store(work, {"drop_number": number, "day": body["day"], "photos": body.get("photos", 1)})
            stored.append(number)
        except IntegrityError as error:
            if work.setting("ON_DUPLICATE", "raise") == "answer":
                raise Refused(409, "there is such a drop") from error
            log.error("drop %s was not stored", number, exc_info=error)
    return {"stored": stored}


def _store(work: Work, values: dict[str, Any]) -> None:
    how = work.setting("ON_DUPLICATE", "raise")
    engine = work.engine(work.setting("DROPS_IN", "DATABASE_URL"))
    with engine.begin() as connection:
        if how in ("nothing", "update"):
            dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
            row = dialect.insert(Drop).values(**values)
            key = ["drop_number", "day"]
            if how == "nothing":
                connection.execute(row.on_conflict_do_nothing(index_elements=key))
            else:
                change = {"photos": row.excluded.photos}
                connection.execute(row.on_conflict_do_update(index_elements=key, set_=change))
        else:
            connection.execute(insert(Drop).values(**values))


@operation
def find_drop(work: Work, body: Body) -> dict[str, Any]:
    """Look a drop up by its number."""
    with work.engine(work.setting("DROPS_IN", "DATABASE_URL")).connect() as connection:
        found = connection.execute(
            select(Drop.id, Drop.photos).where(Drop.drop_number == body["number"])
        ).first()
        return {"photos": found.photos if found else None}
