"""Everything that Trueline sends takes its time from one place, so that a test can fix it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text
from support.recorder import Recorder

from trueline.instrumentation import ai_call, ambient, bind_identity

pytestmark = pytest.mark.sqlalchemy_matrix


def test_spans_and_events_take_their_time_from_ambient(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.count(1_000_000)
    monkeypatch.setattr(ambient, "now_ns", lambda: next(readings))
    recorder = record(logs=False)
    engine = create_engine("sqlite://")

    with bind_identity("12345", entry="job"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE expenses (user_id TEXT)"))
        with ai_call("chat"):
            pass

    spans = recorder.spans()
    assert {span.name for span in spans} >= {"job", "chat", "CREATE expenses"}
    logs = recorder.log_exporter.get_finished_logs()
    assert logs
    bound = next(readings)
    times = [time for span in spans for time in (span.start_time, span.end_time)]
    times += [log.log_record.timestamp for log in logs] + [log.log_record.observed_timestamp for log in logs]
    assert all(time is not None and 1_000_000 <= time < bound for time in times), times
