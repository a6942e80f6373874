"""A rule in the coverage ledger: lines that say the same, one after another, are one stretch of time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from trueline.monitor.store.client import Store
from trueline.monitor.store.ledger import text

#: A failed window is judged again from the same start: only of the others does a later start leave time out.
_STRETCHES: Final = """
SELECT
    min(sequence) AS first_line, any(line.version) AS version, any(line.revision) AS revision,
    min(line.start) AS start, max(line.end) AS end, any(line.result) AS result, count() AS runs,
    sum(line.rows) AS rows, sum(line.withheld) AS withheld, round(sum(line.ms), 1) AS ms,
    round(max(line.ms), 1) AS slowest_ms, any(line.error) AS error, any(line.note) AS note, max(line.at) AS at
FROM (
    SELECT *, sum(other) OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS stretch
    FROM (
        SELECT
            *,
            lagInFrame((revision, result, error, note), 1) OVER lines != (revision, result, error, note)
                OR (result != 'error' AND start > lagInFrame(end, 1) OVER lines) AS other
        FROM rule_runs
        WHERE rule = {rule:String} AND at >= {since:DateTime64(3)} AND end > {since:DateTime64(3)}
            AND start < {until:DateTime64(3)} AND sequence < {before:UInt64}
        WINDOW lines AS (ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
    )
) AS line
GROUP BY stretch
HAVING {result:String} = '' OR result = {result:String}
ORDER BY first_line DESC
LIMIT {limit:UInt32}
"""
_SUMS: Final = """
SELECT
    sumIf(dateDiff('millisecond', greatest(start, {since:DateTime64(3)}), least(end, {until:DateTime64(3)})),
        result IN ('ok', 'clock')) / 1000 AS judged_seconds,
    sumIf(dateDiff('millisecond', greatest(start, {since:DateTime64(3)}), least(end, {until:DateTime64(3)})),
        result = 'skipped') / 1000 AS skipped_seconds,
    countIf(result = 'error') AS errors,
    sum(withheld) AS withheld,
    sum(ms) / 1000 AS seconds_spent
FROM rule_runs
WHERE rule = {rule:String} AND at >= {since:DateTime64(3)} AND end > {since:DateTime64(3)}
    AND start < {until:DateTime64(3)}
"""
#: Higher than every line's number.
NO_LINE: Final = 2**64 - 1


def stretches(
    store: Store,
    rule: str,
    since: datetime,
    until: datetime,
    *,
    result: str = "",
    before: int = NO_LINE,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Stretches of a rule's windows of arrival, newest first; ``before`` is the ``first_line`` to go on from.

    Times that lie between two stretches and that no line has are stretches of their own, with the result
    ``none``, unless only one result was asked for.
    """
    rows = store.query_read_only(
        _STRETCHES,
        {
            "rule": rule,
            "since": text(since),
            "until": text(until),
            "result": result,
            "before": before,
            "limit": limit,
        },
    ).dicts()
    found: list[dict[str, Any]] = []
    for row in rows:
        if found and not result and row["end"] < found[-1]["start"]:
            found.append(_none(row, found[-1]))
        found.append(row)
    return found


def sums(store: Store, rule: str, since: datetime, until: datetime) -> dict[str, Any]:
    """What the lines of that time add up to: seconds of arrivals judged and given up, errors, cost."""
    return store.query_read_only(_SUMS, {"rule": rule, "since": text(since), "until": text(until)}).dicts()[0]


def _none(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    nothing = dict.fromkeys(("runs", "rows", "withheld", "ms", "slowest_ms"), 0)
    said = {"result": "none", "error": "", "note": ""}
    return {**newer, **nothing, **said, "start": older["end"], "end": newer["start"], "at": newer["start"]}
