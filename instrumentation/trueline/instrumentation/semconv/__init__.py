"""The telemetry contract as code: every name once, with type and meaning.

Constants (``semconv.STATEMENT_KIND``), the reference page and the store's columns are all made from
:data:`ATTRIBUTES`, so that none of them can say something else.
"""

from trueline.instrumentation.semconv.attributes import *  # noqa: F403
from trueline.instrumentation.semconv.registry import (
    ATTRIBUTES as ATTRIBUTES,
)
from trueline.instrumentation.semconv.registry import (
    CONTRACT_VERSION as CONTRACT_VERSION,
)
from trueline.instrumentation.semconv.registry import (
    EVENTS as EVENTS,
)
from trueline.instrumentation.semconv.registry import (
    SCHEMA_URL as SCHEMA_URL,
)
from trueline.instrumentation.semconv.registry import (
    SCOPE_NAME as SCOPE_NAME,
)
from trueline.instrumentation.semconv.registry import (
    TABLE_OF as TABLE_OF,
)
from trueline.instrumentation.semconv.registry import (
    Attribute as Attribute,
)
from trueline.instrumentation.semconv.registry import (
    AttributeType as AttributeType,
)
from trueline.instrumentation.semconv.registry import (
    Event as Event,
)
from trueline.instrumentation.semconv.registry import (
    Signal as Signal,
)
from trueline.instrumentation.semconv.registry import (
    Table as Table,
)
from trueline.instrumentation.semconv.values import (
    ENCODING_PATTERN as ENCODING_PATTERN,
)
from trueline.instrumentation.semconv.values import (
    LEGAL_REASONS as LEGAL_REASONS,
)
from trueline.instrumentation.semconv.values import (
    AiProblem as AiProblem,
)
from trueline.instrumentation.semconv.values import (
    Clause as Clause,
)
from trueline.instrumentation.semconv.values import (
    ConstraintKind as ConstraintKind,
)
from trueline.instrumentation.semconv.values import (
    Kind as Kind,
)
from trueline.instrumentation.semconv.values import (
    Outcome as Outcome,
)
from trueline.instrumentation.semconv.values import (
    ProcessKind as ProcessKind,
)
from trueline.instrumentation.semconv.values import (
    Reason as Reason,
)
from trueline.instrumentation.semconv.values import (
    Role as Role,
)
from trueline.instrumentation.semconv.values import (
    Rung as Rung,
)
