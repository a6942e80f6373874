"""Calls of models: which spans are such calls, what went wrong with them, and which transactions waited."""

from trueline.instrumentation.ai.calls import ai_call
from trueline.instrumentation.ai.conventions import is_ai_span
from trueline.instrumentation.ai.hosts import ModelHosts
from trueline.instrumentation.ai.watching import AiWatch

__all__ = ["AiWatch", "ModelHosts", "ai_call", "is_ai_span"]
