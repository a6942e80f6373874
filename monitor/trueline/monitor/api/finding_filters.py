"""What a list of findings is narrowed to, as a condition for the store; and its cursors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import HTTPException, Query

from trueline.monitor.api.context import moment_of
from trueline.monitor.api.cursors import WRONG_CURSOR, decode_cursor, encode_cursor
from trueline.monitor.api.whom import Namer
from trueline.monitor.engine.finding import Finding, State

Order = Literal["last_seen", "opened_at"]
StateFilter = Literal["open", "acknowledged", "reopened", "resolved", "active"]
#: A value to filter by.
Text = Annotated[str | None, Query(max_length=500)]
_STAMP: Final = "%Y-%m-%d %H:%M:%S.%f"
#: Evidence whose attributes name an identity: among the values, or as ``domain:value`` that it was bound to.
_IN_EVIDENCE: Final = """SELECT finding_id FROM finding_evidence WHERE named AND (
    has(JSONExtract(attributes['trueline.identity.values'], 'Array(String)'), {identity:String})
    OR arrayExists(
        bound -> substring(bound, position(bound, ':') + 1) = {identity:String},
        arrayConcat(
            [attributes['trueline.identity.bound']],
            JSONExtract(attributes['trueline.identity.bound'], 'Array(String)')
        )
    )
)"""


@dataclass
class Conditions:
    """Conditions of our own, joined by AND; every value is a bound parameter."""

    parts: list[str] = field(default_factory=lambda: ["1"])
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> None:
        """Add one with its values."""
        self.parts.append(condition)
        self.values.update(values)

    def states(self, states: Sequence[StateFilter] | None) -> None:
        """Any of the states; ``active`` stands for all but resolved."""
        wanted = {str(one) for one in states or ()}
        if "active" in wanted:
            wanted |= {State.OPEN, State.ACKNOWLEDGED, State.REOPENED}
        if wanted:
            self.add("state IN {states:Array(String)}", states=sorted(str(one) for one in wanted))

    def one_of(self, column: str, chosen: Sequence[str] | None) -> None:
        """A column has one of the values."""
        if chosen:
            self.add(f"{column} IN {{{column}:Array(String)}}", **{column: [str(one) for one in chosen]})

    def equal(self, column: str, value: str | None) -> None:
        """A column has the value."""
        if value is not None:
            self.add(f"{column} = {{{column}:String}}", **{column: value})

    def has(self, column: str, name: str, value: str | None) -> None:
        """A column of several values has the value."""
        if value is not None:
            self.add(f"has({column}, {{{name}:String}})", **{name: value})

    def environment(self, value: str | None) -> None:
        """In an environment; ``unset`` is that of services which name none."""
        if value is not None:
            self.one_of("environment", [value, ""] if value == "unset" else [value])

    def identity(self, value: str | None) -> None:
        """Somebody, by the exported value, is among those whom the rule lists, or in evidence it named."""
        if value is not None:
            self.add(f"(has(identities, {{identity:String}}) OR id IN ({_IN_EVIDENCE}))", identity=value)

    def between(self, since: str | None, until: str | None, now: datetime) -> None:
        """Last seen since, and first seen before: ISO times, or durations back from now."""
        if since is not None:
            self.add("last_seen >= {since:DateTime64(6)}", since=stamp(moment_of(since, now)))
        if until is not None:
            self.add("first_seen < {until:DateTime64(6)}", until=stamp(moment_of(until, now, "until")))

    def after(self, cursor: str | None, order: Order) -> None:
        """What comes after a cursor in the order."""
        if cursor is not None:
            at, one = decode(cursor, order)
            self.add(
                f"({order} < {{at:DateTime64(6)}} "
                f"OR {order} = {{at:DateTime64(6)}} AND id > {{after:String}})",
                at=at,
                after=one,
            )

    @property
    def sql(self) -> str:
        """All of it."""
        return " AND ".join(self.parts)


def stamp(moment: datetime) -> str:
    """A time as the store takes it."""
    return moment.astimezone(UTC).strftime(_STAMP)


def exported(namer: Namer, identity: str | None, domain: str, plain: bool) -> str | None:
    """The value under which services export an identity; HTTPException 400 for a raw one."""
    if identity is None or plain:
        return identity
    try:
        return namer.by_hash(identity, domain).values[0]
    except HTTPException:
        raise HTTPException(
            400,
            "identity takes a hash of 32 or 64 hexadecimal digits, since URLs are logged: trueline findings "
            "--identity 12345 hashes on your side. If the services declare the domain plain, add plain=true.",
        ) from None


def encode(finding: Finding, order: Order) -> str:
    """The cursor of what comes after a finding: the place in the order, not a page number."""
    return encode_cursor(
        order, stamp(finding.last_seen if order == "last_seen" else finding.opened_at), finding.id
    )


def decode(cursor: str, order: Order) -> tuple[str, str]:
    """Time and id that a cursor stands for; HTTPException 400 if it is none of this order."""
    made_for, at, after = decode_cursor(cursor, 3)
    try:
        moment = datetime.strptime(at, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise HTTPException(400, WRONG_CURSOR) from None
    if made_for != order:
        raise HTTPException(400, f"cursor was given with order={made_for[:20]}: ask on with the same order.")
    return stamp(moment), after
