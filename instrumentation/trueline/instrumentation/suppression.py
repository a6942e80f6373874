"""Whether OpenTelemetry was told to keep silent: by exporters about their own requests, for one.

The same as in ``opentelemetry.instrumentation.utils``, which loads more than is needed for two keys.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context

#: OpenTelemetry has two keys, an older and a newer one.
SUPPRESSION_KEYS: Final = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")


def is_suppressed(context: Context) -> bool:
    """Whether nothing is to be recorded under ``context``."""
    return any(context.get(key) for key in SUPPRESSION_KEYS)
