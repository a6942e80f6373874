"""Whether somebody takes the telemetry: an empty OTLP request to each signal's address."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from trueline.instrumentation.options import DEFAULT_ENDPOINT

_SECONDS: Final = 5.0
_SIGNALS: Final = ("TRACES", "LOGS")
_OURS: Final = ("otlp", "otlp_proto_http")


def check(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether each signal has an exporter, and whether its receiver answers."""
    addresses = endpoints(environ)
    for signal in _SIGNALS:
        names = [name.strip() for name in environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")]
        what = "spans" if signal == "TRACES" else "logs"
        if not any(name in _OURS for name in names):
            said = ", ".join(name for name in names if name)
            if said in ("none", ""):
                level = 2 if signal == "TRACES" else 1
                yield level, f"OTEL_{signal}_EXPORTER={said} sends no {what}.", "Unset it."
            else:
                yield 0, f"{what} go to the exporter {said}, which is not asked here.", ""
            continue
        yield _ask(signal, what, addresses[signal], environ)


def endpoints(environ: Mapping[str, str]) -> dict[str, str]:
    """The full URL of each signal, as the default exporters take it from the variables."""
    base = (environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT_ENDPOINT).rstrip("/")
    return {
        signal: environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
        or f"{base}/v1/{signal.lower()}"
        for signal in _SIGNALS
    }


def _ask(signal: str, what: str, url: str, environ: Mapping[str, str]) -> tuple[int, str, str]:
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        readable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        return (
            2,
            f"{shown} is no http address for {what}.",
            "Set OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318.",
        )
    headers = {"Content-Type": "application/x-protobuf", **_headers(signal, environ)}
    if parts.username is not None:
        # The exporter's client makes the same of it.
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers.setdefault("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        urlunsplit(parts), data=b"", headers=headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=_tls(signal, environ)):  # noqa: S310
            return 0, f"{shown} takes {what}.", ""
    except urllib.error.HTTPError as error:
        error.close()
        return 2, f"{shown} answers {error.code} to {what}.", _way_out(error.code)
    except (OSError, ValueError) as error:
        grpc = " 4317 is the port of OTLP over gRPC; OTLP/HTTP is at 4318." if parts.port == 4317 else ""
        return (
            2,
            f"nobody takes {what} at {shown} ({_class_of(error)}).",
            f"Start the receiver, or set OTEL_EXPORTER_OTLP_ENDPOINT.{grpc}",
        )


def shown_url(url: str) -> str:
    """A URL without credentials and query string."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that cannot be read)"
    if not parts.hostname:
        return "(an address without a host)"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _headers(signal: str, environ: Mapping[str, str]) -> dict[str, str]:
    said = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_HEADERS") or environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    pairs = (part.partition("=") for part in said.split(","))
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs if name.strip()}


def _tls(signal: str, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    authorities = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_CERTIFICATE") or environ.get(
        "OTEL_EXPORTER_OTLP_CERTIFICATE"
    )
    return ssl.create_default_context(cafile=authorities) if authorities else None


def _way_out(status: int) -> str:
    if status in (401, 403):
        return (
            "Set OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20<token>, with the receiver's ingest token."
        )
    if status == 404:
        return "OTEL_EXPORTER_OTLP_ENDPOINT takes an address without a path; this may be no OTLP receiver."
    return "See the receiver's log."


def _class_of(error: Exception) -> str:
    """What went wrong, without the text, in which an address with a password may stand."""
    inner = getattr(error, "reason", error)
    return type(inner).__name__ if isinstance(inner, Exception) else type(error).__name__
