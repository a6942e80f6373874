"""Assert in your own tests what your code does to its databases; no monitor needed.

    from trueline.instrumentation.testing import recorded

    def test_the_webhook_commits_once():
        with recorded() as telemetry:
            handle(message)

        telemetry.assert_committed("expenses", column="user_id", identity="12345", times=1)
        telemetry.assert_one_transaction()
        telemetry.assert_no_ai_call_inside_a_transaction()

``print(telemetry)`` shows everything that was recorded. For pytest there is a fixture ``telemetry`` in
:mod:`trueline.instrumentation.testing.plugin`.
"""

from trueline.instrumentation.testing.assertions import TelemetryAssertionError
from trueline.instrumentation.testing.installation import TelemetryWarning
from trueline.instrumentation.testing.model import AiCall, Entry, Identity, Log, Statement, Transaction
from trueline.instrumentation.testing.recording import Telemetry, recorded

__all__ = [
    "AiCall",
    "Entry",
    "Identity",
    "Log",
    "Statement",
    "Telemetry",
    "TelemetryAssertionError",
    "TelemetryWarning",
    "Transaction",
    "recorded",
]
