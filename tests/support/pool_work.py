"""What a process of a pool does for its caller; in a module that a spawned process can import."""

from __future__ import annotations

from opentelemetry.context import get_current
from sqlalchemy import create_engine, text
from support.recorder import Recorder

from trueline.instrumentation import bound, instrument, semconv, uninstrument


def written(path: str, user: str, recorder: Recorder) -> list[tuple[str, ...]]:
    """What a write by primary key and a write that names the identity say."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE expenses SET amount = 2 WHERE id = 1"))
        connection.execute(text("UPDATE expenses SET amount = 3 WHERE user_id = :user"), {"user": user})
    engine.dispose()
    return [
        (
            *written[semconv.IDENTITY_BOUND],
            *written.get(semconv.IDENTITY_VALUES, ()),
            *written.get(semconv.IDENTITY_ENCODINGS, ()),
        )
        for written in recorder.statements("write")
    ]


def written_by_child(path: str, user: str) -> list[tuple[str, ...]]:
    held = bound.own.get(), get_current()
    uninstrument()
    recorder = Recorder()
    instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers, logs=False, hold=30)
    assert held == (bound.own.get(), get_current())
    return written(path, user, recorder)
