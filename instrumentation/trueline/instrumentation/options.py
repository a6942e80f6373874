"""Configuration of the instrumentation: arguments first, then TRUELINE_* variables, then OTEL_* ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from trueline.instrumentation.ai.hosts import ModelHosts
from trueline.instrumentation.database_names import DatabaseNames
from trueline.instrumentation.declarations.service import (
    declared_identities,
    load_for_service,
    names_by_place,
)
from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.semconv import ProcessKind

if TYPE_CHECKING:
    from trueline.instrumentation.declarations.model import Declarations

SpanSource = Literal["own", "contrib"]
DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
_TRUE = frozenset({"1", "true", "yes", "on"})
_WORKERS = frozenset({"celery", "rq", "dramatiq", "arq"})
#: They serve with one of these commands only; ``flask db upgrade`` is a script.
_SERVING = frozenset({"flask", "fastapi"})
_SERVING_COMMANDS = frozenset({"run", "dev"})
_SERVERS = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "waitress", "waitress-serve"})


class ConfigurationError(ValueError):
    """An argument or a variable that cannot be used; the message names it and the way out."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that can be set, with its default. ``hold`` is in seconds."""

    service_name: str = ""
    service_version: str = ""
    namespace: str = ""
    environment: str = ""
    process_kind: ProcessKind = ProcessKind.SCRIPT
    spans: SpanSource = "own"
    identities: IdentityConfig = field(default_factory=IdentityConfig)
    endpoint: str = ""
    logs: bool = True
    log_arguments: bool = False
    hold: float = 1.0
    hash_secret: str = ""
    database_names: DatabaseNames = field(default_factory=DatabaseNames)
    sample: float = 1.0
    follow_trace_sampler: bool = False
    threads: bool = False
    jobs: bool = True
    #: Where models are served, beside the well-known hosts.
    ai_hosts: ModelHosts = field(default_factory=ModelHosts)
    declarations: Declarations | None = None
    #: Why there are none although a file was named or found, "" otherwise.
    declarations_problem: str = ""

    @property
    def base_endpoint(self) -> str:
        """Where OTLP goes: the base URL without a signal's path."""
        return (
            self.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "") or DEFAULT_ENDPOINT
        ).rstrip("/")


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """The kill switch, and OpenTelemetry's own."""
    return any(
        environ.get(name, "").strip().lower() in _TRUE for name in ("TRUELINE_DISABLED", "OTEL_SDK_DISABLED")
    )


def resolve(
    *,
    service_name: str | None,
    service_version: str | None,
    namespace: str | None,
    environment: str | None,
    process_kind: str | None,
    spans: str | None,
    identities: IdentityConfig | None,
    endpoint: str | None,
    logs: bool | None,
    log_arguments: bool | None,
    hold: float | None,
    database_name: str | None,
    database_names: Mapping[str, str] | None = None,
    sample: float | None = None,
    follow_trace_sampler: bool | None = None,
    threads: bool | None = None,
    jobs: bool | None = None,
    ai_hosts: Iterable[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Options:
    """Options from arguments and environment; ConfigurationError names what is wrong."""
    source = spans or environ.get("TRUELINE_SPANS", "") or "own"
    if source not in ("own", "contrib"):
        raise ConfigurationError(f"spans={source!r} (or TRUELINE_SPANS) is not known: use 'own' or 'contrib'")
    kind = process_kind or environ.get("TRUELINE_PROCESS_KIND", "") or guess_process_kind()
    if kind not in tuple(ProcessKind):
        raise ConfigurationError(
            f"process_kind={kind!r} (or TRUELINE_PROCESS_KIND) is not known: use one of "
            + ", ".join(ProcessKind)
        )
    loaded = load_for_service(config, environ)
    declared = loaded.declarations
    return Options(
        service_name=service_name or "",
        service_version=service_version or "",
        namespace=namespace or "",
        environment=environment or "",
        process_kind=ProcessKind(kind),
        spans="contrib" if source == "contrib" else "own",
        identities=identities or declared_identities(declared, environ),
        endpoint=endpoint or "",
        logs=_flag(environ, "TRUELINE_LOGS", True) if logs is None else logs,
        log_arguments=(
            _flag(environ, "TRUELINE_LOG_ARGUMENTS", False) if log_arguments is None else log_arguments
        ),
        hold=_seconds(environ, "TRUELINE_HOLD", 1.0) if hold is None else hold,
        hash_secret=environ.get("TRUELINE_HASH_SECRET", ""),
        database_names=_database_names(environ, database_name, database_names, declared),
        sample=_ratio(environ, "TRUELINE_SAMPLE", sample),
        follow_trace_sampler=(
            _flag(environ, "TRUELINE_FOLLOW_TRACE_SAMPLER", False)
            if follow_trace_sampler is None
            else follow_trace_sampler
        ),
        threads=_flag(environ, "TRUELINE_THREADS", False) if threads is None else threads,
        jobs=_flag(environ, "TRUELINE_JOBS", True) if jobs is None else jobs,
        ai_hosts=_ai_hosts(environ, ai_hosts),
        declarations=declared,
        declarations_problem=loaded.problem,
    )


def _ai_hosts(environ: Mapping[str, str], given: Iterable[str] | None) -> ModelHosts:
    named = environ.get("TRUELINE_AI_HOSTS", "").split(",") if given is None else given
    try:
        return ModelHosts(host for host in named if host.strip())
    except ValueError as error:
        raise ConfigurationError(f"ai_hosts (or TRUELINE_AI_HOSTS): {error}") from None


def _database_names(
    environ: Mapping[str, str],
    name: str | None,
    names: Mapping[str, str] | None,
    declared: Declarations | None,
) -> DatabaseNames:
    default = name or environ.get("TRUELINE_DATABASE_NAME", "").strip()
    source = "database_names" if names is not None else "TRUELINE_DATABASE_NAMES"
    try:
        if names is not None:
            return DatabaseNames(default, names)
        text = environ.get("TRUELINE_DATABASE_NAMES", "")
        if declared is not None and not text.strip():
            return DatabaseNames(default, names_by_place(declared))
        return DatabaseNames.parse(text, default)
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(f"{source}: {error}") from None


def _flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = environ.get(name, "").strip().lower()
    return default if not value else value in _TRUE


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name, "").strip()
    if not value:
        return default
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise ConfigurationError(f"{name}={value!r} is not a number of seconds from 0 to 60")
    return seconds


def _ratio(environ: Mapping[str, str], name: str, given: float | None) -> float:
    value: object = environ.get(name, "").strip() if given is None else given
    if value == "":
        return 1.0
    try:
        ratio = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        ratio = -1.0
    if not 0 < ratio <= 1:
        raise ConfigurationError(
            f"sample={value!r} (or {name}) is not a share of identities: use a number above 0 and up to 1, "
            "0.01 for one in a hundred"
        )
    return ratio


def guess_process_kind() -> ProcessKind:
    """What this process is there for, by what has been imported and how it was started.

    Under zero-code nothing of the application is imported yet: then the command has to do.
    """
    if "pytest" in sys.modules or _commands() & {"pytest", "py.test"}:
        return ProcessKind.TEST
    if _commands() & _WORKERS or {"celery.bin.worker", "rq.worker"} & sys.modules.keys():
        return ProcessKind.WORKER
    serves = _commands() & _SERVERS or (_commands() & _SERVING and _SERVING_COMMANDS & set(sys.orig_argv))
    if serves or _SERVERS & sys.modules.keys():
        return ProcessKind.WEB
    return ProcessKind.SCRIPT


def _commands() -> set[str]:
    """The names that this process may have been started under: ``uvicorn``, ``python -m uvicorn``."""
    given = sys.orig_argv
    named = {os.path.basename(sys.argv[0] if sys.argv else "")}
    named |= {os.path.basename(given[at + 1]) for at in range(len(given) - 1) if given[at] == "-m"}
    # python /usr/bin/uvicorn: argv is not there yet when sitecustomize runs.
    return named | {os.path.basename(one) for one in given[1:2]}


def is_loopback(url: str) -> bool:
    """Whether ``url`` leads to this machine only."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
