"""What a statement does: its plan, read once from the text and cached."""

from trueline.instrumentation.statement.later import Later
from trueline.instrumentation.statement.plan import (
    Control,
    IdentityUse,
    Literal,
    Ownership,
    Plan,
    Series,
    Source,
)
from trueline.instrumentation.statement.planner import Planner, load_parser

__all__ = [
    "Control",
    "IdentityUse",
    "Later",
    "Literal",
    "Ownership",
    "Plan",
    "Planner",
    "Series",
    "Source",
    "load_parser",
]
