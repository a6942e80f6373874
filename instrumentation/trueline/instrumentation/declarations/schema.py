"""The fields of trueline.yaml: the one place from which reading, editors' help and documentation come."""

from __future__ import annotations

from typing import Final

from trueline.instrumentation.declarations import model
from trueline.instrumentation.declarations.spec import (
    Choice,
    Duration,
    Field,
    Flag,
    ListOf,
    MapOf,
    Moment,
    OneOrMap,
    Record,
    Text,
)

_NAME: Final = Text("a name of letters, digits, '_', '.' and '-'", r"\w[\w.-]*")
_TABLE: Final = Text("a table, with its schema where needed", r"[^\s.]+(\.[^\s.]+)*", example="expenses")
_TABLES: Final = ListOf(_TABLE, one=True)
_DOMAIN: Final = Text("the name of a domain", r"\w[\w.-]*", example="user")
_COLUMN: Final = Text(
    "a column: name, table.name, or a regular expression", r"\S+", example="expenses.user_ref"
)
_ENCODING: Final = Text(
    "an encoding",
    r"(raw|integer|uuid|email|sha256|sha1|md5|opaque|hmac:[\w.-]+|fn:[\w.-]+)(/upper)?(/\d+)?(/int)?",
    example="sha256, sha256/upper, sha256/16/int or hmac:NAME",
)
_FUNCTION: Final = Text(
    "a function of the application as module:function",
    r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*",
    example="expenses.ids:short_id",
)
_DATABASE: Final = Text("the name of a database", example="orders")
_SERVICE: Final = Text("the name of a service", example="web")
_OPERATION: Final = Text("the name of an entry span", example="POST /summary")
_SOURCE: Final = Field(_SERVICE, "Only in this service.")

#: Who fills a table where Trueline may not see it.
WRITERS: Final = {
    "application": "services with Trueline in them",
    "trigger": "a trigger in the database",
    "materialized_view": "it is a materialized view",
    "generated_column": "generated columns",
    "database_job": "a job in the database, such as pg_cron",
    "migration": "a migration",
    "other_system": "a system without Trueline",
}
BUDGETS: Final = {
    "summary_lag": "how far a derived table may be behind its sources",
    "ai_latency": "how long a call to a model may take",
    "answer_age": "how old a cached answer may be",
    "open_transaction": "how long a writing transaction may stay open",
}
EVENTS: Final = {
    "write_committed": "the write has been committed",
    "ai_completed": "the call to a model has ended well",
}
ROLES: Final = {
    "summary": "answers from the tables under reads",
    "admin": "looks identities up by other keys than the application does",
    "dry_run": "rolls back on purpose",
    "read_only": "writes nothing, by design",
    "writes_sometimes": "need not write though it mostly does",
    "writes_later": "a job that it starts writes",
    "batch": "one session serves many entries, by design",
    "uses_answer": "writes what a model answered, and so waits for it",
}
#: Domains that are known without being declared.
DEFAULT_DOMAINS: Final = ("user", "tenant", "message", "session", "email")

_KEY: Final = Record(
    model.KeySource,
    {
        "env": Field(
            Text("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*", hidden=True),
            "The environment variable that holds the key.",
        ),
        "file": Field(Text("the path of a file", hidden=True), "The file that holds the key."),
    },
    hidden=True,
)

DECLARATIONS: Final = Record(
    model.Declarations,
    {
        "version": Field(Choice({"1": "the only one so far"}), "The version of this format.", required=True),
        "application": Field(
            Text("the name of an application"),
            "The application (service.namespace) that this is about; all of them if unset.",
        ),
        "domains": Field(
            MapOf(
                _DOMAIN,
                Record(
                    model.DomainDeclaration,
                    {"plain": Field(Flag(), "Values leave as they are: for business numbers, never people.")},
                ),
            ),
            "Kinds of identities; user, tenant, message, session and email are there already.",
        ),
        "columns": Field(
            MapOf(
                _COLUMN,
                Record(
                    model.ColumnDeclaration,
                    {
                        "domain": Field(_DOMAIN, "Whose identities it holds.", required=True),
                        "encodings": Field(
                            ListOf(_ENCODING, one=True), "The forms that it holds by design, if several."
                        ),
                    },
                    short="domain",
                ),
            ),
            "Columns that hold identities, beside those that are found by their names.",
        ),
        "exclude": Field(ListOf(_COLUMN, one=True), "Columns that look like identities and are none."),
        "derivations": Field(
            MapOf(_NAME, _FUNCTION),
            "Functions of the application that make a column's value from the raw one; encoding fn:NAME.",
        ),
        "resolver": Field(
            OneOrMap(_FUNCTION, MapOf(_DOMAIN, _FUNCTION)),
            "Function of the application, or one for each domain, from (domain, table.column, value) to the "
            "raw identity or None.",
        ),
        "uuid_namespaces": Field(
            MapOf(_NAME, Text("a UUID", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
            "Namespaces of UUID5 by name, beside dns, url, oid and x500; encoding fn:uuid5.NAME.",
        ),
        "hmac_keys": Field(
            MapOf(_NAME, _KEY), "Keys of HMAC-SHA-256 by name, by where they are kept; encoding hmac:NAME."
        ),
        "databases": Field(
            MapOf(
                _DATABASE,
                ListOf(Text("host:port/database, host/database, /database or a fingerprint"), one=True),
            ),
            "Your names for databases, with places and fingerprints. What shares a name is one database.",
        ),
        "tables": Field(
            MapOf(
                _TABLE,
                Record(
                    model.TableDeclaration,
                    {
                        "owner": Field(_SERVICE, "The service whose table it is, in a database of its own."),
                        "written_by": Field(ListOf(Choice(WRITERS), one=True), "Who writes it."),
                        "sharded_by": Field(_DOMAIN, "The domain by which it is spread over databases."),
                    },
                ),
            ),
            "Whose tables are, and who writes them.",
        ),
        "lineage": Field(
            ListOf(
                Record(
                    model.Lineage,
                    {
                        "derived": Field(_TABLE, "The table that is made from others.", required=True),
                        "sources": Field(_TABLES, "The tables that it is made from.", required=True),
                        "within": Field(Duration(), "How far behind them it may be."),
                        "filled_by": Field(Choice(WRITERS), "Who fills it."),
                    },
                )
            ),
            "Tables that are made from others.",
        ),
        "counterparts": Field(
            ListOf(
                Record(
                    model.Counterpart,
                    {
                        "table": Field(_TABLE, "A row here ...", required=True),
                        "counterpart": Field(_TABLE, "... has one of the same identity here.", required=True),
                        "within": Field(Duration(), "The time after which it is missing.", required=True),
                        "domain": Field(_DOMAIN, "The domain of the identity that joins them."),
                    },
                )
            ),
            "Rows that belong together.",
        ),
        "budgets": Field(
            ListOf(
                Record(
                    model.Budget,
                    {
                        "of": Field(Choice(BUDGETS), "What is limited.", required=True),
                        "at_most": Field(Duration(), "The limit.", required=True),
                        "service": _SOURCE,
                        "operation": Field(_OPERATION, "Only in this entry."),
                        "table": Field(_TABLE, "Only for this table."),
                    },
                )
            ),
            "The most that things may take.",
        ),
        "log_events": Field(
            ListOf(
                Record(
                    model.LogEvent,
                    {
                        "event": Field(
                            Text("the event's name or the log line's template"),
                            "The event's name, or the log line's template.",
                            required=True,
                        ),
                        "means": Field(Choice(EVENTS), "What it says.", required=True),
                        "identity": Field(_NAME, "The field that holds the identity."),
                        "domain": Field(_DOMAIN, "Its domain; user if unset."),
                        "table": Field(_TABLE, "The table that was written."),
                        "service": _SOURCE,
                    },
                )
            ),
            "Log events of the application's own that are compared with what the database did.",
        ),
        "operations": Field(
            ListOf(
                Record(
                    model.Operation,
                    {
                        "name": Field(_OPERATION, "The name of the entry span.", required=True),
                        "roles": Field(
                            ListOf(Choice(ROLES), one=True), "In what it is not like others.", required=True
                        ),
                        "reads": Field(_TABLES, "The tables that a summary is made from."),
                        "service": _SOURCE,
                    },
                )
            ),
            "Entries that are not like the others, by design.",
        ),
        "moves": Field(
            ListOf(
                Record(
                    model.Move,
                    {
                        "from": Field(_DATABASE, "The database until now.", required=True, argument="source"),
                        "to": Field(
                            _DATABASE, "The database from then on.", required=True, argument="target"
                        ),
                        "starts": Field(Moment(), "From when both may be in use.", required=True),
                        "ends": Field(Moment(), "From when only the new one is.", required=True),
                        "tables": Field(_TABLES, "The tables that move; all if unset."),
                        "service": _SOURCE,
                        "environment": Field(Text("the name of an environment"), "Only in this environment."),
                    },
                )
            ),
            "Planned moves from one database to another.",
        ),
    },
)
