"""Log records of the application on the trace that they belong to, and our own log events."""

from trueline.instrumentation.logs.emitter import EventEmitter
from trueline.instrumentation.logs.relay import Relay
from trueline.instrumentation.logs.standard import OtlpHandler, reaches_otel_handler
from trueline.instrumentation.logs.watching import LogWatch

__all__ = ["EventEmitter", "LogWatch", "OtlpHandler", "Relay", "reaches_otel_handler"]
