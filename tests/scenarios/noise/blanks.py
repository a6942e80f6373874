"""The blanks of a play's rows, and how the engine fills them in: SQL expressions by table and column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from scenarios.noise.model import Row
from scenarios.noise.play import Play

#: What a row has beside the columns of its table: blanks, and what they are filled in by.
BLANKS: Final = {
    "n_play": "UInt16",
    "n_at": "Float64",
    "n_ended": "Float64",
    "n_leaves": "Float64",
    "n_trace": "UInt32",
    "n_span": "UInt32",
    "n_entry": "UInt32",
    "n_transaction": "UInt32",
    "n_row": "UInt32",
    "n_values": "Array(Tuple(String, UInt32))",
    "n_bound": "Array(Tuple(String, UInt32))",
    "n_owners": "Array(Tuple(String, UInt32))",
    "n_whose": "Array(Tuple(String, UInt32))",
    "n_must": "Bool",
    "n_ratio": "Float64",
    "n_service": "LowCardinality(String)",
    "n_application": "LowCardinality(String)",
    "n_kind": "LowCardinality(String)",
    "n_instances": "UInt32",
    "n_environment": "LowCardinality(String)",
    "n_version": "LowCardinality(String)",
    "n_spread": "LowCardinality(String)",
    "n_said": "Map(String, String)",
}


#: Worked out once a row, from the piece of work (i, h, base, n_play) and the step (n_...); microseconds since
#: 1970.
MEANS: Final = {
    "scale": "0.8 + (intDiv(h, 1009) % 1000) / 2500",
    "person": "toUInt64(pow((intDiv(h, 7919) % 1000003) / 1000003, 3) * people_)",
    "tenant": "person % 300",
    "worker": "sipHash64(i, n_service, n_trace) % n_instances",
    "process": "cityHash64(n_service, worker, seed_)",
    "skew": "toInt64(process % 601) * 1000 - 300000",
    "ready": "base + toInt64(n_leaves * scale * 1000)",
    "sent": "ready + positiveModulo(toInt64(process % 1000000) - ready, 1000000)",
    "cut": "sent % 600000000",
    "stuck": "cut < 45000000 AND cityHash64(process, intDiv(sent, 600000000)) % 40 = 0",
    "arrived": "if(stuck, sent - cut + 45000000 + intDiv(cut, 100), sent) + 5000 "
    "+ toInt64(cityHash64(process, sent) % 60000)",
    "env": "if(n_environment != '', n_environment, if(intDiv(h, 101) % 100 < 92, 'prod', 'staging'))",
    "release": "if(n_version != '', n_version, concat('1.', toString(intDiv("
    "base - began_ + toInt64(worker) * 20000000 + toInt64(cityHash64(n_service) % deploy_), deploy_))))",
    "shard": "(tenant + (tenant % 9 = 0 AND base > moved_)) % 3",
    "suffix": "concat(multiIf(n_spread = 'shard', concat('_', toString(shard)), n_spread = 'run', "
    "concat('_run', toString(i % 997)), ''), if(env = 'prod', '', concat('_', env)))",
    "trace": "lower(hex(sipHash128(i, n_trace, seed_)))",
    "began": "fromUnixTimestamp64Nano((base + toInt64(n_at * scale * 1000) + skew) * 1000, 'UTC')",
    "over": "fromUnixTimestamp64Nano((base + toInt64(n_ended * scale * 1000) + skew) * 1000, 'UTC')",
    "ratio": "if(sample_ > 0, sample_, n_ratio)",
    "bound": "{}",
}


def _named(column: str) -> str:
    """``domain:value`` of each identity of the column."""
    return f"arrayMap(x -> concat(x.1, ':', {_VALUE}), {column})"


_VALUE: Final = (
    "if(x.1 = 'drop', concat('DR-', toString(i * 8 + x.2)), lower(hex(sipHash128(x.1, "
    "multiIf(x.1 = 'user', person + x.2, x.1 = 'tenant', tenant + x.2, i * 64 + x.2)))))"
)
MEANS["bound"] = _named("n_bound")
_BELOW: Final = "leftPad(hex(toUInt32(ratio * 4294967295)), 8, '0')"
#: As the instrumentation samples: by identity; work that names none by its trace; and whatever did not
#: commit.
KEPT: Final = (
    f"(ratio = 0 OR n_must OR if(empty(n_whose), upper(substring(trace, 25)) < {_BELOW}, "
    f"arrayExists(x -> hex(substring(SHA256(x), 1, 4)) < {_BELOW}, {_named('n_whose')})))"
)


def _id(number: str) -> str:
    return f"if({number} = 0, '', lower(hex(sipHash64(i, {number}, seed_))))"


_COMMON: Final = {
    "received_at": "fromUnixTimestamp64Milli(intDiv(arrived, 1000), 'UTC')",
    "started_at": "began",
    "ended_at": "over",
    "trace_id": "trace",
    "span_id": _id("n_span"),
    "service": "n_service",
    "application": "n_application",
    "process_kind": "n_kind",
    "environment": "env",
    "version": "release",
    "instance": "concat(n_service, '-', toString(worker), '-', release)",
    "identity_bound": "bound",
}
_IN_A_TRANSACTION: Final = {
    "parent_span_id": _id("n_entry"),
    "entry_span_id": _id("n_entry"),
    "transaction_id": _id("n_transaction"),
    "sample_ratio": "ratio",
    "hash_key_id": "'k1'",
    "database": "concat(step.database, suffix)",
    "database_schema": "if(n_spread = 'schema', concat('tenant_', toString(tenant % 40)), "
    "step.database_schema)",
    "db_namespace": "concat(step.db_namespace, suffix)",
}
FILLED: Final[dict[str, dict[str, str]]] = {
    "statements": {
        **_COMMON,
        **_IN_A_TRANSACTION,
        "database_rungs": "arrayMap(x -> concat(x, suffix), step.database_rungs)",
        "database_url": "concat(step.database_url, suffix)",
        "identity_values": f"arrayMap(x -> {_VALUE}, n_values)",
        "identity_row": _named("n_owners"),
        "row_key": _id("n_row"),
    },
    "transactions": {**_COMMON, **_IN_A_TRANSACTION},
    "entries": {**_COMMON, "hash_key_id": "'k1'", "message_id": "if(step.message_id = '', '', trace)"},
    "ai_calls": {**_COMMON, "entry_span_id": _id("n_entry"), "parent_span_id": _id("n_entry")},
    "exceptions": {
        **{
            name: _COMMON[name]
            for name in _COMMON
            if name not in ("started_at", "ended_at", "instance", "identity_bound")
        },
        "at": "began",
    },
    "otel_logs": {
        "Timestamp": "began",
        "received_at": _COMMON["received_at"],
        "TraceId": "if(n_trace = 9999, '', trace)",
        "SpanId": _id("n_span"),
        "ServiceName": "n_service",
        "ResourceAttributes": "map('service.namespace', toString(n_application), "
        "'service.version', toString(release), "
        f"'service.instance.id', {_COMMON['instance']}, 'deployment.environment.name', toString(env), "
        "'trueline.process.kind', toString(n_kind))",
        "LogAttributes": "mapUpdate(n_said, if(empty(bound), map(), "
        "map('trueline.identity.bound', toJSONString(bound))))",
    },
}


def columns_of(row: Row) -> dict[str, Any]:
    """The columns of its table that a row says by itself."""
    columns = dict(row.columns)
    if row.database is not None:
        place = row.database
        columns |= {"database": place.name, "database_schema": place.schema}
        if row.table == "statements":
            columns |= {
                "database_rungs": place.rungs,
                "database_role": place.role,
                "database_url": f"postgresql://{place.endpoint or 'db'}/{place.name}",
                "database_url_variable": place.variable,
            }
    return columns


def blanks_of(number: int, play: Play, row: Row) -> dict[str, Any]:
    """What the row's blanks are filled in by."""

    def split(whose: Sequence[str]) -> list[tuple[str, int]]:
        return [(one.partition("+")[0], int(one.partition("+")[2] or 0)) for one in whose]

    service = row.service
    return {
        "n_play": number,
        "n_at": row.at,
        "n_ended": row.ended,
        "n_leaves": row.leaves,
        "n_trace": row.trace,
        "n_span": row.span,
        "n_entry": row.entry,
        "n_transaction": row.transaction,
        "n_row": row.same_row,
        "n_values": split(row.values),
        "n_bound": split(row.bound),
        "n_owners": split(row.owners),
        "n_whose": split(row.whose),
        "n_must": row.must,
        "n_ratio": service.ratio,
        "n_service": service.name,
        "n_application": service.application,
        "n_kind": "test" if play.test else service.kind,
        "n_instances": service.instances,
        "n_environment": play.environment,
        "n_version": row.version or play.version,
        "n_spread": "run" if play.test else row.database.spread if row.database else "",
        "n_said": row.attributes,
    }


def nothing(kind: str) -> Any:
    """The value of a column that a row does not say."""
    if kind.startswith("Array"):
        return []
    if kind.startswith("Map"):
        return {}
    return "" if "String" in kind else False if kind == "Bool" else 0
