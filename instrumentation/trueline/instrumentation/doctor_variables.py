"""Whether the variables of a service say what they should."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from trueline.instrumentation.identity import IdentityHasher
from trueline.instrumentation.inventory_report import percent
from trueline.instrumentation.options import ConfigurationError, Options, disabled, is_loopback, resolve

#: Every variable that the instrumentation reads.
VARIABLES: Final = frozenset(
    "TRUELINE_" + name
    for name in (
        *("CONFIG", "DATABASE_NAME", "DATABASE_NAMES", "DISABLED", "EXIT_WAIT", "FOLLOW_TRACE_SAMPLER"),
        *("HASH_SECRET", "HOLD", "LOGS", "LOG_ARGUMENTS", "PROCESS_KIND", "SAMPLE", "SPANS"),
    )
)
#: Those of the monitor, which may stand in the same environment.
MONITOR_VARIABLES: Final = frozenset(
    "TRUELINE_" + name
    for name in (
        *("ALLOWED_HOSTS", "CLICKHOUSE_CA_FILE", "CLICKHOUSE_CLUSTER", "CLICKHOUSE_PASSWORD"),
        *("CLICKHOUSE_PASSWORD_FILE", "CLICKHOUSE_URL", "CLICKHOUSE_USER", "CLICKHOUSE_VERIFY", "DATABASE"),
        *("DATA_DIR", "DISK_RESERVE", "EVIDENCE_LIMIT", "EXTERNAL_URL", "HOST", "LOG_FORMAT", "LOG_LEVEL"),
        *("NOTIFY", "PORT", "RETENTION_DAYS", "RETENTION_FINDINGS_DAYS", "RETENTION_TABLES", "RULES"),
        *("RULE_TICK_SECONDS", "SHIPPED_RULES", "TOKEN", "URL"),
    )
)
#: A short secret can be guessed from a few hashes of known identities.
_SHORT: Final = 16


def check_switch(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether the kill switch is on."""
    if not disabled(environ):
        yield 0, "Trueline is not switched off.", ""
        return
    names = [name for name in ("TRUELINE_DISABLED", "OTEL_SDK_DISABLED") if environ.get(name)]
    yield 2, f"{' and '.join(names)} switches it off: nothing is instrumented.", "Unset it."


def check_settings(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether each setting can be used, and whether a name looks misspelt."""
    options = options_of(environ)
    if isinstance(options, str):
        yield 2, f"{options}.", "instrument() raises for it."
    else:
        yield 0, f"all can be used; this would be a process of the kind {options.process_kind}.", ""
        # The file of declarations, if there is one.
        problem = getattr(options, "declarations_problem", "")
        if problem:
            yield 1, f"{problem}.", "It goes on without declarations until that is mended."
    for name in sorted(environ):
        if name.startswith("TRUELINE_") and name not in VARIABLES | MONITOR_VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.8)
            if near:
                yield 1, f"nobody reads {name}.", f"Is {near[0]} meant?"


def options_of(environ: Mapping[str, str]) -> Options | str:
    """The options that an ``instrument()`` without arguments would have, or what is wrong with them."""
    parameters = inspect.signature(resolve).parameters
    nothing: dict[str, Any] = {name: None for name in parameters if name != "environ"}
    try:
        return resolve(**nothing, environ=environ)
    except ConfigurationError as error:
        return str(error).rstrip(".")


def check_names(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether the service says who and where it is."""
    said = resource_of(environ)
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or said.get("service.name", "")
    place = said.get("deployment.environment.name") or said.get("deployment.environment") or ""
    if name:
        yield 0, f"the service is {name}.", ""
    else:
        yield (
            1,
            "no variable names the service.",
            "Set OTEL_SERVICE_NAME, unless the code calls instrument(service_name=...).",
        )
    if place:
        yield 0, f"its environment is {place}.", ""
    else:
        yield (
            1,
            "no variable names the environment: production and staging would be compared with each other.",
            "Set OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=production, unless the code calls "
            "instrument(environment=...).",
        )


def resource_of(environ: Mapping[str, str]) -> dict[str, str]:
    """OTEL_RESOURCE_ATTRIBUTES as a mapping."""
    pairs = (part.partition("=") for part in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs if name.strip()}


def check_secret(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether identities can leave, and under which key id."""
    secret = environ.get("TRUELINE_HASH_SECRET", "")
    if secret:
        yield 0, f"hashed under key id {IdentityHasher(secret).key_id}; every service needs the same.", ""
        if len(secret) < _SHORT:
            yield (
                1,
                f"TRUELINE_HASH_SECRET has fewer than {_SHORT} characters, which can be guessed.",
                "Take a longer one everywhere: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        return
    from trueline.instrumentation.doctor_receiver import endpoints

    if all(_stays_here(url) for url in endpoints(environ).values()):
        yield (
            0,
            "TRUELINE_HASH_SECRET is not set; identities leave as unkeyed hashes, to this machine only.",
            "",
        )
        return
    yield (
        1,
        "TRUELINE_HASH_SECRET is not set and telemetry leaves this machine: identities are left out, and "
        "rules that compare them are blind.",
        "Set it to the same value in every service.",
    )


def _stays_here(url: str) -> bool:
    try:
        return is_loopback(url)
    except ValueError:  # no URL at all
        return False


def check_sampling(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Whether a part is left out on purpose."""
    options = options_of(environ)
    if isinstance(options, str):
        return
    if options.sample < 1:
        yield (
            1,
            f"{percent(options.sample)} of identities is kept: what strikes few may not be found.",
            "Every service needs the same TRUELINE_SAMPLE.",
        )
    if options.follow_trace_sampler:
        yield (
            1,
            "statements of traces that the trace sampler drops are dropped too.",
            "Unset TRUELINE_FOLLOW_TRACE_SAMPLER.",
        )
    if options.sample == 1 and not options.follow_trace_sampler:
        yield 0, "everything is sent.", ""
