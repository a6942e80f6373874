"""The telemetry contract as code: every name once, with type and meaning.

Constants (``semconv.STATEMENT_KIND``), the reference page and the store's columns are all made from
:data:`ATTRIBUTES`, so that none of them can say something else.
"""

from trueline.instrumentation.semconv.attributes import *  # noqa: F403
from trueline.instrumentation.semconv.registry import (
    ATTRIBUTES,
    CONTRACT_VERSION,
    EVENTS,
    SCHEMA_URL,
    SCOPE_NAME,
    TABLE_OF,
    Attribute,
    AttributeType,
    Event,
    Signal,
    Table,
)
from trueline.instrumentation.semconv.values import (
    ENCODING_PATTERN,
    LEGAL_REASONS,
    Clause,
    ConstraintKind,
    Kind,
    Outcome,
    ProcessKind,
    Reason,
    Role,
    Rung,
)
