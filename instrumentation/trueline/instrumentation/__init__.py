"""Trueline's instrumentation: whether what a service writes is what will be read.

    from trueline.instrumentation import instrument, bind_identity, ai_call

    instrument(service_name="web")

Every SQLAlchemy statement becomes a span that says whose rows it touches, which database really answered
and how its transaction ended.
"""

from trueline.instrumentation._version import __version__
from trueline.instrumentation.ai import ai_call
from trueline.instrumentation.binding import bind_identity, bind_message
from trueline.instrumentation.frameworks.jobs import Ticket, carry
from trueline.instrumentation.identity import Domain, IdentityConfig
from trueline.instrumentation.inventory_report import Inventory
from trueline.instrumentation.options import ConfigurationError
from trueline.instrumentation.propagation import propagate, propagating
from trueline.instrumentation.setup import instrument, inventory, uninstrument

__all__ = [
    "ConfigurationError",
    "Domain",
    "IdentityConfig",
    "Inventory",
    "Ticket",
    "__version__",
    "ai_call",
    "bind_identity",
    "bind_message",
    "carry",
    "instrument",
    "inventory",
    "propagate",
    "propagating",
    "uninstrument",
]
