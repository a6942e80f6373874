"""What stands around spans and log records in OTLP: resource and scope, encoded once.

``ResourceSpans`` and ``ResourceLogs``, ``ScopeSpans`` and ``ScopeLogs`` have the same field numbers.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from trueline.instrumentation import wire


class Envelope:
    """Keeps the encodings of resources and scopes that it has seen."""

    def __init__(self) -> None:
        self._headers: dict[int, tuple[Resource, bytes, bytes]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope, bytes, bytes]] = {}

    def around(
        self, resource: Resource | None, scope: InstrumentationScope | None, spans: list[bytes]
    ) -> list[bytes]:
        """ResourceSpans or ResourceLogs of one resource and scope, in pieces; ``spans`` are framed."""
        header, resource_url = (b"", b"") if resource is None else self._resource(resource)
        scope_head, scope_url = self._scope(scope)
        size = len(scope_head) + sum(map(len, spans)) + len(scope_url)
        start = header + b"\x12" + wire.varint(size) + scope_head
        size += len(start) - len(scope_head) + len(resource_url)
        return [b"\x0a" + wire.varint(size) + start, *spans, scope_url, resource_url]

    def _resource(self, resource: Resource) -> tuple[bytes, bytes]:
        known = self._headers.get(id(resource))
        if known is None:
            attributes = b"".join(
                wire.field(b"\x0a", wire.key_value(name, value))
                for name, value in resource.attributes.items()
            )
            url = wire.text(b"\x1a", resource.schema_url) if resource.schema_url else b""
            if len(self._headers) > 64:
                self._headers.clear()
            # The object is kept, so that its id stays its own.
            known = self._headers[id(resource)] = (resource, wire.field(b"\x0a", attributes), url)
        return known[1], known[2]

    def _scope(self, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
        if scope is None:
            return b"", b""
        known = self._scopes.get(id(scope))
        if known is None:
            message = wire.text(b"\x0a", scope.name) if scope.name else b""
            message += wire.text(b"\x12", scope.version) if scope.version else b""
            url = wire.text(b"\x1a", scope.schema_url) if scope.schema_url else b""
            if len(self._scopes) > 64:
                self._scopes.clear()
            known = self._scopes[id(scope)] = (scope, wire.field(b"\x0a", message), url)
        return known[1], known[2]


def group_of(
    groups: dict[tuple[int, int], tuple[Any, Any, list[bytes]]],
    resource: Resource | None,
    scope: InstrumentationScope | None,
) -> list[bytes]:
    """Where the encoded spans or records of one resource and scope are gathered."""
    key = (id(resource), id(scope))
    group = groups.get(key)
    if group is None:
        group = groups[key] = (resource, scope, [])
    return group[2]
