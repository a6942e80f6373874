"""From real spans and log records of this process, through decoder and store, to the rows of a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from support.recorder import Recorder
from support.telemetry import PATIENT, RULES

from trueline.monitor.engine.evaluate import parameters, select
from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.windows import Window
from trueline.monitor.otlp.decode import decode_logs, decode_traces
from trueline.monitor.store.client import Store


def store_telemetry(store: Store, recorder: Recorder) -> None:
    """Put what Trueline sent so far into the store, and forget it."""
    batches = [decode_traces(encode_spans(recorder.spans()))]
    if logs := recorder.log_exporter.get_finished_logs():
        batches.append(decode_logs(encode_logs(logs)))
    for batch in batches:
        assert batch.rejected == 0
        store.insert(batch.table, batch.columns)
    recorder.clear()


def judge(store: Store, rule_id: str, later: timedelta = timedelta(0), **params: Any) -> list[dict[str, Any]]:
    """What a shipped rule finds in all that has arrived, as of ``later``; ``params`` replace its defaults."""
    rule = load_rule(RULES / f"{rule_id}.yaml")
    assert set(params) <= set(rule.parameters)
    end = datetime.now(UTC) + timedelta(seconds=1) + later
    start = end - timedelta(minutes=10) - later
    window = Window(start, start, end, end - rule.definition.lookback, end)
    bound = {**parameters(rule, window), **params}
    rows = select(rule, bound, lambda sql, values: store.query_read_only(sql, values, PATIENT).dicts())
    for row in rows:
        for name, template in rule.templates.items():
            text = template.render({**row, "params": rule.parameters})
            assert text and "this text could not be made" not in text, (name, text)
    return rows
