"""Puts the monitor together: store, writer, rules, and the HTTP application in front of them."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from trueline.monitor import metrics
from trueline.monitor.declaration_service import DeclarationService
from trueline.monitor.errors import StoreError, StoreUnavailableError
from trueline.monitor.otlp.framing import OtlpFraming
from trueline.monitor.otlp.receive import Receiver
from trueline.monitor.resources import rule_paths, shipped
from trueline.monitor.security import Guard, refusal
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store, open_store
from trueline.monitor.store.disk import DiskWatermark, measure_folder, measure_server, parse_level
from trueline.monitor.store.journal import FOLDER, Journal
from trueline.monitor.store.migrate import migrate
from trueline.monitor.store.requests import StoredRequests
from trueline.monitor.store.retention import set_retention
from trueline.monitor.store.writer import Writer

if TYPE_CHECKING:
    from trueline.monitor.notify.notifier import Notifier
    from trueline.monitor.rule_service import RuleService

_log = logging.getLogger(__name__)

#: How long each part may take to finish its work at a stop, seconds.
STOP_SECONDS: Final = 10.0


class Monitor:
    """A running monitor without its socket. Made by :meth:`open`, ended by :meth:`close`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: Writer,
        rules: RuleService,
        declarations: DeclarationService | None = None,
        intake: metrics.IntakeMetrics | None = None,
        stored: StoredRequests | None = None,
        decoders: Executor | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.writer = writer
        self.rules = rules
        self.declarations = declarations or DeclarationService(store, settings)
        self.notifier = notifier
        self.metrics = intake or metrics.IntakeMetrics()
        self._stored = stored
        self.watermark = _watermark(settings, store)
        self.receiver = Receiver(
            writer, metrics=self.metrics, refusal=self.watermark.refusal, decoders=decoders
        )
        self.metrics.watch(self._gauges)
        self.app = build_app(self)

    @classmethod
    def open(cls, settings: Settings) -> Monitor:
        """Open and migrate the store, load the rules, start writing and judging.

        Raise a TruelineError (store, migration, rules) with everything closed again.
        """
        from trueline.monitor.notify.notifier import Notifier
        from trueline.monitor.rule_folder import RuleFolder
        from trueline.monitor.rule_service import RuleService

        folder = RuleFolder(rule_paths(settings.rules, settings.shipped_rules), shipped("rules"))
        ahead = folder.read_ahead()
        store = open_store(settings.store)
        try:
            migrate(store)
            set_retention(store, settings)
            ahead.join()
            rules = RuleService(store, settings, folder)
            declarations = DeclarationService(store, settings)
            notifier = Notifier(store, rules.findings, settings)
            intake = metrics.IntakeMetrics()
            stored = StoredRequests()
            writer = _writer(settings, store, stored, intake)
            # Requests under way when an earlier process ended are completed first: then all that is in the
            # raw tables is in the derived ones too, and may be acknowledged when it is sent again.
            writer.start()
            stored.load(store)
            decoders = _decoders(settings)
            try:
                declarations.start()
                rules.start()
                notifier.start()
            except BaseException:
                declarations.stop(STOP_SECONDS)
                writer.stop(STOP_SECONDS)
                raise
            return cls(settings, store, writer, rules, declarations, intake, stored, decoders, notifier)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Stop judging, store what waits, close the store. To be called after the last request."""
        self.rules.stop(STOP_SECONDS)
        if self.notifier is not None:
            self.notifier.stop(STOP_SECONDS)
        self.declarations.stop(STOP_SECONDS)
        if not self.writer.stop(STOP_SECONDS):
            _log.error("rows were still being stored after %.0f seconds: they may be lost", STOP_SECONDS)
        self.receiver.close()
        self.store.close()

    def problems(self) -> list[str]:
        """Why the monitor cannot do its work just now; empty if it can. Asks the store, so it may block."""
        problems = []
        try:
            self.store.query("SELECT 1")
        except StoreError as error:
            problems.append(f"the store does not answer: {error}")
        writing = self.writer.problem()
        if writing:
            problems.append(f"rows cannot be stored: {writing}")
        full = self.watermark.refusal()
        if full:
            problems.append(full)
        status = self.rules.status()
        if not status.get("running"):
            problems.append("the rules are not being evaluated")
        if not status.get("rules"):
            problems.append("no rule is loaded")
        return problems

    def _gauges(self) -> Iterator[tuple[metrics.MetricText, Mapping[tuple[str, ...], float]]]:
        """What is read when Prometheus asks. Asks the disk, and nothing of the store."""
        requests, rows, size = self.writer.waiting
        admission = self.receiver.admission
        stopped = self.watermark.refusal() is not None
        space = self.watermark.space
        yield metrics.WAITING, {("requests",): requests, ("rows",): rows, ("bytes",): size}
        yield metrics.UNDER_WAY, {("reading",): admission.reading, ("waiting",): admission.requests}
        yield metrics.BUFFERED, {(): admission.buffered}
        yield metrics.KNOWN, {(): len(self._stored or ())}
        yield metrics.READY, {(): float(self.writer.problem() is None)}
        yield metrics.STOPPED, {(): float(stopped)}
        if space.total:
            yield metrics.DISK, {("total",): space.total, ("free",): space.free}
        yield from metrics.rule_gauges(dict(self.rules.states))

    def describe_rules(self) -> str:
        """How many rules run, for people."""
        return f"{self.rules.status().get('rules', 0)} active"


def _watermark(settings: Settings, store: Store) -> DiskWatermark:
    """The watch on the disk that holds the store. Raise SettingsError for an amount that is none."""
    stop = parse_level(settings.disk_reserve)
    if settings.clickhouse_url:
        return DiskWatermark(lambda: measure_server(store), stop=stop)
    return DiskWatermark(lambda: measure_folder(settings.data_dir), stop=stop)


def _writer(settings: Settings, store: Store, stored: StoredRequests, meter: metrics.IntakeMetrics) -> Writer:
    # The engine takes a path with these characters for a pattern.
    decodes = not settings.clickhouse_url and not set("*?{}") & set(str(settings.data_dir))
    return Writer(
        store,
        journal=Journal(settings.data_dir.resolve() / FOLDER),
        framing=OtlpFraming(store, decodes=decodes),
        stored=stored,
        meter=meter,
    )


def _decoders(settings: Settings) -> Executor | None:
    """Processes that decode where the engine does not: with a server, on more than one core."""
    count = min(4, (os.cpu_count() or 1) - 1)
    if not settings.clickhouse_url or count < 1:
        return None
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def build_app(monitor: Monitor) -> FastAPI:
    """Build the HTTP application: OTLP under /v1, people's questions under /api/v1 and /ops, health."""
    from trueline.monitor.api import build_router
    from trueline.monitor.api.openapi import describe_api

    app = FastAPI(
        title="Trueline",
        version=version("trueline"),
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.add_middleware(Guard, settings=monitor.settings)
    app.add_route("/v1/traces", monitor.receiver.traces, methods=["POST"], include_in_schema=False)
    app.add_route("/v1/logs", monitor.receiver.logs, methods=["POST"], include_in_schema=False)
    app.include_router(build_router(monitor.store, monitor.rules, monitor.settings, monitor.declarations))
    describe_api(app)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": version("trueline")}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        problems = await asyncio.to_thread(monitor.problems)
        if problems:
            return JSONResponse({"status": "not ready", "reasons": problems}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        text = await asyncio.to_thread(monitor.metrics.render)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    @app.exception_handler(HTTPException)
    async def explain(request: Request, error: HTTPException) -> Response:
        message = (
            _hint(request) if error.status_code in (404, 405) and error.detail in _STOCK else error.detail
        )
        return refusal(request.url.path, error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # The server logs the error itself, with its traceback; its text may hold somebody's values.
        return refusal(request.url.path, 500, "This is an error of the monitor's own: see its log.")

    @app.exception_handler(StoreUnavailableError)
    async def unavailable(request: Request, error: StoreUnavailableError) -> Response:
        return refusal(request.url.path, 503, str(error), {"Retry-After": "2"})

    return app


#: What the router says of its own accord; anything else was said on purpose.
_STOCK: Final = ("Not Found", "Method Not Allowed")


def _hint(request: Request) -> str:
    """What somebody who called a path that is not there, or with the wrong method, most likely wants."""
    path, method = request.url.path, request.method
    base = str(request.base_url).rstrip("/")
    if path == "/v1/metrics":
        return "Metrics are not taken here: set OTEL_METRICS_EXPORTER=none in the service."
    if path in ("/v1/traces", "/v1/logs"):
        return f"{path} takes telemetry by POST from an OpenTelemetry exporter; look at /api/v1/findings."
    if method == "POST" or path.startswith("/v1"):
        return (
            f"Nothing is taken at {path}: telemetry goes to /v1/traces and /v1/logs, for which a service "
            f"sets OTEL_EXPORTER_OTLP_ENDPOINT={base} without a path."
        )
    return f"There is nothing at {path}: look at /api/v1/findings; all paths are in /api/v1/openapi.json."
