"""What standard OTEL_* variables say of an OTLP/HTTP exporter, read when Trueline is switched on.

The exporters themselves are made later, with the first batch: they load an HTTP client, which takes longer
than everything else of Trueline. What is wrong in a variable is said at once all the same, and one that is
changed or taken away after the start means nothing.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.util.re import parse_env_headers

logger = logging.getLogger("trueline")

_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_DEFAULT_SECONDS: Final = 10.0
#: With one of these, OpenTelemetry's exporter loads a session of somebody's own, and may refuse to start.
_CREDENTIAL_PROVIDERS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal}_CREDENTIAL_PROVIDER",
)


@dataclass(frozen=True)
class OtlpSettings:
    """Settings of one signal's exporter. ``endpoint``: the full URL; ``timeout``: seconds for a batch."""

    endpoint: str
    certificate_file: str | None
    client_key_file: str | None
    client_certificate_file: str | None
    headers: dict[str, str]
    timeout: float
    compression: str
    #: The exporter has to be made at once: only it can say whether it can be.
    at_once: bool

    def arguments(self) -> dict[str, Any]:
        """As arguments of OpenTelemetry's exporters over HTTP. Loads their package."""
        from opentelemetry.exporter.otlp.proto.http import Compression

        return {
            "endpoint": self.endpoint,
            "certificate_file": self.certificate_file,
            "client_key_file": self.client_key_file,
            "client_certificate_file": self.client_certificate_file,
            "headers": self.headers,
            "timeout": self.timeout,
            "compression": Compression(self.compression),
        }


def otlp_settings(signal: str, endpoint: str | None = None) -> OtlpSettings:
    """Read the settings of ``signal``, TRACES or LOGS; one log line for each that has no meaning."""

    def said(name: str) -> str:
        return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or os.environ.get(
            f"OTEL_EXPORTER_OTLP_{name}", ""
        )

    return OtlpSettings(
        endpoint=endpoint or _endpoint(signal),
        certificate_file=said("CERTIFICATE") or None,
        client_key_file=said("CLIENT_KEY") or None,
        client_certificate_file=said("CLIENT_CERTIFICATE") or None,
        # It logs what it cannot read, and leaves it out.
        headers=dict(parse_env_headers(said("HEADERS"), liberal=True)),
        timeout=_timeout(said("TIMEOUT")),
        compression=_compression(said("COMPRESSION")),
        at_once=any(os.environ.get(name.format(signal=signal)) for name in _CREDENTIAL_PROVIDERS),
    )


def _endpoint(signal: str) -> str:
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if own:
        return own
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
    return f"{base.removesuffix('/')}/v1/{signal.lower()}"


def _timeout(value: str) -> float:
    try:
        return float(value or _DEFAULT_SECONDS)
    except ValueError:
        logger.warning(
            "trueline: OTEL_EXPORTER_OTLP_TIMEOUT=%r is no number of seconds; %g are used",
            value,
            _DEFAULT_SECONDS,
        )
        return _DEFAULT_SECONDS


def _compression(value: str) -> str:
    name = value.strip().lower() or "none"
    if name in _COMPRESSIONS:
        return name
    logger.warning(
        "trueline: OTEL_EXPORTER_OTLP_COMPRESSION=%r is not one of %s; nothing is compressed",
        value,
        ", ".join(_COMPRESSIONS),
    )
    return "none"
