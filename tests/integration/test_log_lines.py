"""Lines of standard logging, structlog and loguru on the trace that they belong to, however configured."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import logging
import logging.config
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from loguru import logger as loguru_logger
from loguru._logger import Logger as Loguru
from opentelemetry.sdk._logs import ReadableLogRecord
from sqlalchemy import create_engine, insert, select
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import bind_identity, guard, semconv, uninstrument
from trueline.instrumentation.logs import standard


def lines(recorder: Recorder) -> list[ReadableLogRecord]:
    return list(recorder.log_exporter.get_finished_logs())


def bodies(recorder: Recorder) -> list[Any]:
    return [line.log_record.body for line in lines(recorder)]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def log(root: logging.Logger) -> Iterator[logging.Logger]:
    log = logging.getLogger("shop")
    log.setLevel(logging.DEBUG)
    yield log
    log.setLevel(logging.NOTSET)
    log.handlers.clear()
    log.propagate = True


def test_lines_are_on_the_trace_and_leave_as_templates(
    record: Callable[..., Recorder], log: logging.Logger
) -> None:
    recorder = record()
    with bind_identity("12345", entry="webhook"):
        log.info("stored %s for %s", 3, "12345", extra={"user_id": "12345", "amount": 12.5})
    (line,) = lines(recorder)
    (entry,) = [span for span in recorder.spans() if span.name == "webhook"]
    assert line.log_record.body == "stored %s for %s"
    assert line.log_record.trace_id == entry.context.trace_id
    assert line.log_record.span_id == entry.context.span_id
    assert line.log_record.severity_text == "INFO"
    attributes = line.log_record.attributes or {}
    assert attributes["amount"] == 12.5
    assert attributes["user_id"] != "12345"
    assert len(str(attributes["user_id"])) == 32
    assert attributes["code.function.name"] == "test_lines_are_on_the_trace_and_leave_as_templates"


def test_configuring_logging_afterwards_loses_nothing(
    record: Callable[..., Recorder], log: logging.Logger, root: logging.Logger
) -> None:
    recorder = record()
    said = io.StringIO()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"own": {"class": "logging.StreamHandler", "stream": said}},
            "loggers": {"shop": {"handlers": ["own"], "propagate": False, "level": "INFO"}},
            "root": {"handlers": [], "level": "WARNING"},
        }
    )
    log.info("once")
    assert bodies(recorder) == ["once"]
    assert said.getvalue() == "once\n"


def test_the_application_s_output_comes_first_and_its_errors_stay_its_own(
    record: Callable[..., Recorder], log: logging.Logger
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    recorder = record()
    log.addHandler(Broken())
    with pytest.raises(RuntimeError, match="disk full"):
        log.error("lost")
    assert bodies(recorder) == ["lost"]


def test_a_line_that_the_exporter_causes_is_not_passed_on(
    record: Callable[..., Recorder], log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    export = recorder.log_exporter.export

    def talking(batch: Any) -> Any:
        log.warning("exporting")
        return export(batch)

    monkeypatch.setattr(recorder.log_exporter, "export", talking)
    log.info("once")
    assert bodies(recorder) == ["once"]


def test_everything_is_taken_off_again(record: Callable[..., Recorder], log: logging.Logger) -> None:
    before = logging.Logger.callHandlers, structlog.BoundLoggerBase._proxy_to_logger, Loguru._log
    recorder = record()
    assert logging.Logger.callHandlers is not before[0]
    uninstrument()
    assert before == (
        logging.Logger.callHandlers,
        structlog.BoundLoggerBase._proxy_to_logger,
        Loguru._log,
    )
    log.info("after")
    assert bodies(recorder) == []


# -- database errors -------------------------------------------------------------------------------------


def refused(path: Path) -> sqlite3.IntegrityError:
    """The error of a raw driver, without SQLAlchemy anywhere near."""
    with sqlite3.connect(path) as connection:
        connection.execute("create table deliveries (mid text unique)")
        connection.execute("insert into deliveries values ('m-1')")
        with pytest.raises(sqlite3.IntegrityError) as raised:
            connection.execute("insert into deliveries values ('m-1')")
    return raised.value


@pytest.mark.parametrize("how", ["argument", "text", "exception", "formatted"])
def test_a_violation_of_a_raw_driver_is_told(
    record: Callable[..., Recorder], log: logging.Logger, sqlite_path: Path, how: str
) -> None:
    recorder = record()
    error = refused(sqlite_path)
    if how == "argument":
        log.error("insert failed: %s", error)
    elif how == "text":
        log.error("insert failed: %s", str(error))
    elif how == "formatted":
        log.error(f"insert failed: {error}")
    else:
        try:
            raise error
        except sqlite3.IntegrityError:
            log.exception("insert failed")
    (line,) = lines(recorder)
    attributes = line.log_record.attributes or {}
    assert attributes[semconv.CONSTRAINT_KIND] == "unique"
    assert attributes[semconv.CONSTRAINT_TABLE] == "deliveries"
    assert attributes[semconv.CONSTRAINT_COLUMNS] == ("mid",)


def test_values_that_a_database_quotes_do_not_leave(
    record: Callable[..., Recorder], log: logging.Logger
) -> None:
    recorder = record()
    error = (
        'duplicate key value violates unique constraint "expenses_mid_key"\n'
        "DETAIL:  Key (mid, owner)=(secret-1, secret) 2) already exists."
    )
    log.error(f"could not store: {error}")
    log.error("(1062, \"Duplicate entry 'secret-3' for key 'deliveries.mid'\")")
    log.error("IntegrityError [SQL: INSERT INTO t VALUES ('secret-4')]\n[parameters: ('secret-5',)]")
    first, second, third = lines(recorder)
    assert (first.log_record.attributes or {})[semconv.CONSTRAINT_NAME] == "expenses_mid_key"
    assert (first.log_record.attributes or {})[semconv.CONSTRAINT_COLUMNS] == ("mid", "owner")
    assert (second.log_record.attributes or {})[semconv.CONSTRAINT_TABLE] == "deliveries"
    for line in (first, second, third):
        assert "secret" not in str(line.log_record.body)
        assert "secret" not in str(line.log_record.attributes)


def test_a_line_of_no_database_has_no_facts(record: Callable[..., Recorder], log: logging.Logger) -> None:
    recorder = record()
    log.error("time constraint exceeded")
    log.error("Key (of the office) was lost")
    for line in lines(recorder):
        assert not [
            name for name in line.log_record.attributes or {} if "constraint" in name or "db." in name
        ]


def test_a_line_whose_arguments_do_not_fit_is_passed_on(
    record: Callable[..., Recorder], log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = record()
    log.addHandler(logging.StreamHandler())
    log.propagate = False
    log.error("stored %s of %s", 1)  # noqa: PLE1206
    assert bodies(recorder) == ["stored %s of %s"]
    assert "not enough arguments" in capsys.readouterr().err


# -- beside other instrumentations -----------------------------------------------------------------------


@pytest.fixture
def contrib(record: Callable[..., Recorder], root: logging.Logger) -> Iterator[Recorder]:
    """OpenTelemetry's own handler on the root logger, as zero-code puts it there."""
    from opentelemetry.instrumentation.logging.handler import LoggingHandler

    recorder = record()
    logs: Any = recorder.loggers
    handler = LoggingHandler(logger_provider=logs)
    root.addHandler(handler)
    yield recorder
    root.removeHandler(handler)


def test_records_of_another_handler_are_completed_and_not_doubled(
    contrib: Recorder, log: logging.Logger, sqlite_path: Path
) -> None:
    try:
        raise refused(sqlite_path)
    except sqlite3.IntegrityError:
        log.exception("insert failed")
    log.error(
        'duplicate key value violates unique constraint "mid_key"\n'
        "DETAIL:  Key (mid)=(secret-1) already exists."
    )
    log.info("nothing")
    first, second, third = lines(contrib)
    said = first.log_record.attributes or {}
    assert said[semconv.CONSTRAINT_TABLE] == "deliveries"
    assert said[semconv.CONSTRAINT_COLUMNS] == ("mid",)
    said = second.log_record.attributes or {}
    assert said[semconv.DB_RESPONSE_STATUS_CODE] == "23505"
    assert said[semconv.CONSTRAINT_NAME] == "mid_key"
    assert "secret" not in str(second.log_record.body)
    assert not third.log_record.attributes


def test_loggers_that_do_not_reach_the_other_handler_are_passed_on(
    contrib: Recorder, log: logging.Logger
) -> None:
    log.propagate = False
    log.info("GET %s", "/rows")
    assert bodies(contrib) == ["GET %s"]


def test_another_handler_s_records_are_left_alone_afterwards(contrib: Recorder, log: logging.Logger) -> None:
    uninstrument()
    log.error("UNIQUE constraint failed: deliveries.mid")
    (line,) = lines(contrib)
    assert not line.log_record.attributes


def test_declared_events_of_another_handler(
    record: Callable[..., Recorder], log: logging.Logger, root: logging.Logger, declared: Path
) -> None:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler

    recorder = record(config=declared)
    logs: Any = recorder.loggers
    root.addHandler(LoggingHandler(logger_provider=logs))
    log.info("event_logged", extra={"psid": "12345"})
    (line,) = lines(recorder)
    assert line.log_record.event_name == "event_logged"
    assert semconv.IDENTITY_BOUND in (line.log_record.attributes or {})
    assert "12345" not in str(line.log_record.attributes)


@pytest.mark.parametrize("first", ["sentry", "trueline"])
def test_sentry_watches_the_same_function(
    record: Callable[..., Recorder], log: logging.Logger, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """It wraps ``callHandlers`` for good; both see each line once, and taking ours off leaves its."""
    seen: list[str] = []
    monkeypatch.setattr(logging.Logger, "callHandlers", logging.Logger.callHandlers)

    def watch() -> None:
        before = logging.Logger.callHandlers

        def patched(self: logging.Logger, record: logging.LogRecord) -> None:
            try:
                before(self, record)
            finally:
                seen.append(record.getMessage())

        monkeypatch.setattr(logging.Logger, "callHandlers", patched)

    if first == "sentry":
        watch()
    recorder = record()
    if first == "trueline":
        watch()
    log.info("once")
    uninstrument()
    log.info("afterwards")
    assert bodies(recorder) == ["once"]
    assert seen == ["once", "afterwards"]


def test_a_forked_child_passes_its_lines_on(record: Callable[..., Recorder], log: logging.Logger) -> None:
    recorder = record()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        log.error("from the child")
        os.write(writing, json.dumps(bodies(recorder)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reading, 4096)) == ["from the child"]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("broken", ["line_of", "reaches_otel_handler"])
def test_a_fault_in_watching_costs_no_line_of_the_application_s(
    record: Callable[..., Recorder], log: logging.Logger, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    record()
    said = io.StringIO()
    log.addHandler(logging.StreamHandler(said))
    monkeypatch.setattr(guard, "raise_internal_errors", False)
    if broken == "line_of":
        monkeypatch.setattr(standard, "line_of", fails)
    else:
        monkeypatch.setattr(standard, "_is_otel_handler", fails)
    log.error("said")
    assert said.getvalue() == "said\n"
    assert sum(guard.internal_errors.values()) == 1
    guard.internal_errors.clear()


# -- declared events -------------------------------------------------------------------------------------


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "trueline.yaml"
    path.write_text(
        "version: 1\nlog_events:\n"
        "  - {event: event_logged, means: write_committed, identity: psid, table: expenses}\n"
    )
    return path


@pytest.mark.parametrize("how", ["text", "field"])
def test_declared_events_are_recognised_with_their_identity(
    record: Callable[..., Recorder], log: logging.Logger, declared: Path, how: str
) -> None:
    recorder = record(config=declared)
    if how == "text":
        log.info("event_logged", extra={"psid": "12345"})
    else:
        log.info("stored it", extra={"event_name": "event_logged", "psid": "12345"})
    with bind_identity("12345"):
        log.info("something else", extra={"psid": "12345"})
    first, other = lines(recorder)
    assert first.log_record.event_name == "event_logged"
    said: Any = (first.log_record.attributes or {})[semconv.IDENTITY_BOUND]
    (bound,) = said
    assert str(bound).startswith("user:")
    assert "12345" not in str(first.log_record.attributes)
    assert other.log_record.event_name is None


# -- structlog -------------------------------------------------------------------------------------------


@pytest.fixture
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("unconfigured")
def test_structlog_that_prints(record: Callable[..., Recorder], capsys: pytest.CaptureFixture[str]) -> None:
    recorder = record()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    log = structlog.get_logger().bind(amount=3)
    with bind_identity("12345"), structlog.contextvars.bound_contextvars(shop="north"):
        log.info("stored", user_id="12345")
        log.debug("filtered")
    (line,) = lines(recorder)
    assert line.log_record.body == "stored"
    attributes = line.log_record.attributes or {}
    assert (attributes["amount"], attributes["shop"]) == (3, "north")
    assert len(str(attributes["user_id"])) == 32
    assert line.log_record.trace_id
    assert json.loads(capsys.readouterr().out) == {
        "amount": 3,
        "shop": "north",
        "user_id": "12345",
        "event": "stored",
    }


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("rendered", ["json", "console", "dict"])
def test_structlog_over_standard_logging_is_one_line_with_its_fields(
    record: Callable[..., Recorder], log: logging.Logger, rendered: str
) -> None:
    recorder = record()
    last: Any = {
        "json": structlog.processors.JSONRenderer(),
        "console": structlog.dev.ConsoleRenderer(),
        "dict": structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    }[rendered]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, last],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    seen: list[logging.LogRecord] = []
    watcher = logging.Handler()
    watcher.emit = seen.append  # type: ignore[method-assign, assignment]
    logging.getLogger("shop.structured").addHandler(watcher)
    structlog.get_logger("shop.structured").warning("not stored", user_id="12345", reason="full")
    logging.getLogger("shop.structured").removeHandler(watcher)
    # Callers are told by frames: the application's own is still the nearest.
    assert [record.funcName for record in seen] == [inspect.currentframe().f_code.co_name]  # type: ignore[union-attr]
    log.warning("plain")
    first, second = lines(recorder)
    assert first.log_record.body == "not stored"
    assert (first.log_record.attributes or {})["reason"] == "full"
    assert "12345" not in str(first.log_record)
    assert second.log_record.body == "plain"
    assert "reason" not in (second.log_record.attributes or {})


@pytest.mark.usefixtures("unconfigured")
def test_an_event_that_structlog_drops_is_not_passed_on(record: Callable[..., Recorder]) -> None:
    def drop(*args: Any) -> Any:
        raise structlog.DropEvent

    recorder = record()
    structlog.configure(processors=[drop], logger_factory=structlog.PrintLoggerFactory())
    structlog.get_logger().info("dropped")
    assert bodies(recorder) == []


@pytest.mark.usefixtures("unconfigured")
def test_structlog_that_is_awaited(record: Callable[..., Recorder]) -> None:
    """It logs in another thread: trace, exception and place are those of whoever awaits it."""
    recorder = record()
    structlog.configure(logger_factory=lambda *_: structlog.ReturnLogger())

    async def main() -> None:
        log: Any = structlog.get_logger()
        with bind_identity("12345", entry="webhook"):
            await log.ainfo("stored", amount=3)
            try:
                raise ValueError("no")
            except ValueError:
                await log.aexception("not stored")

    asyncio.run(main())
    (entry,) = [span for span in recorder.spans() if span.name == "webhook"]
    stored, failed = lines(recorder)
    for line in (stored, failed):
        assert line.log_record.trace_id == entry.context.trace_id
        assert (line.log_record.attributes or {})["code.function.name"] == "main"
    assert (failed.log_record.attributes or {})["exception.type"] == "ValueError"


@pytest.mark.usefixtures("unconfigured")
def test_a_handler_that_speaks_while_structlog_does(
    record: Callable[..., Recorder], log: logging.Logger
) -> None:
    other = logging.getLogger("disk")

    class Talking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other.warning("nearly full")

    recorder = record()
    log.addHandler(Talking())
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    structlog.get_logger("shop").warning("not stored", reason="full")
    first, second = lines(recorder)
    assert (first.log_record.body, second.log_record.body) == ("nearly full", "not stored")
    assert "reason" not in (first.log_record.attributes or {})


# -- loguru ----------------------------------------------------------------------------------------------


@pytest.fixture
def loguru_output() -> Iterator[list[Any]]:
    said: list[Any] = []
    loguru_logger.remove()
    loguru_logger.add(lambda message: said.append(message.record), level="INFO")
    yield said
    loguru_logger.remove()


def test_loguru(record: Callable[..., Recorder], loguru_output: list[Any]) -> None:
    recorder = record()
    with bind_identity("12345"):
        loguru_logger.bind(user_id="12345", amount=3).warning("stored {} of {}", 1, "12345")
        loguru_logger.debug("below the level")
    (line,) = lines(recorder)
    assert line.log_record.body == "stored {} of {}"
    assert "12345" not in str(line.log_record)
    attributes = line.log_record.attributes or {}
    assert attributes["amount"] == 3
    assert attributes["code.function.name"] == "test_loguru"
    assert line.log_record.severity_text == "WARN"
    (told,) = loguru_output
    assert (told["message"], told["function"]) == ("stored 1 of 12345", "test_loguru")


def test_loguru_tells_violations(
    record: Callable[..., Recorder], loguru_output: list[Any], sqlite_path: Path
) -> None:
    recorder = record()
    try:
        raise refused(sqlite_path)
    except sqlite3.IntegrityError:
        loguru_logger.exception("insert failed")
    (line,) = lines(recorder)
    attributes = line.log_record.attributes or {}
    assert attributes[semconv.CONSTRAINT_TABLE] == "deliveries"
    assert attributes["exception.type"] == "sqlite3.IntegrityError"


def test_loguru_with_everything_that_opt_offers(
    record: Callable[..., Recorder], loguru_output: list[Any]
) -> None:
    recorder = record()
    called: list[int] = []

    def costly() -> int:
        called.append(1)
        return 7

    loguru_logger.opt(lazy=True).warning("costs {}", costly)
    loguru_logger.opt(record=True).warning("in {record[function]}")
    loguru_logger.patch(lambda record: record["extra"].update(shop="north")).warning("patched")
    with loguru_logger.contextualize(amount=3):
        loguru_logger.warning("with context")
    loguru_logger.opt(colors=True).warning("<red>red</red>")
    first, second, third, fourth, fifth = lines(recorder)
    assert (called, loguru_output[0]["message"]) == ([1], "costs 7")
    assert (first.log_record.body, second.log_record.body) == ("costs {}", "in {record[function]}")
    assert loguru_output[1]["message"] == "in test_loguru_with_everything_that_opt_offers"
    assert (third.log_record.attributes or {})["shop"] == "north"
    assert (fourth.log_record.attributes or {})["amount"] == 3
    assert fifth.log_record.body == "<red>red</red>"
    for line in lines(recorder):
        attributes = line.log_record.attributes or {}
        assert attributes["code.function.name"] == "test_loguru_with_everything_that_opt_offers"


def test_loguru_catches(record: Callable[..., Recorder], loguru_output: list[Any], sqlite_path: Path) -> None:
    recorder = record()
    error = refused(sqlite_path)

    @loguru_logger.catch
    def fail() -> None:
        raise error

    fail()
    (line,) = lines(recorder)
    assert line.log_record.severity_text == "ERROR"
    assert (line.log_record.attributes or {})[semconv.CONSTRAINT_TABLE] == "deliveries"
    assert loguru_output[0]["message"].startswith("An error has been caught in function")


def test_what_loguru_refuses_stays_loguru_s(
    record: Callable[..., Recorder], loguru_output: list[Any]
) -> None:
    recorder = record()
    with pytest.raises(IndexError):
        loguru_logger.warning("{} of {}", 1)
    with pytest.raises(ValueError, match="does not exist"):
        loguru_logger.log("LOUD", "no")
    assert bodies(recorder) == []


def test_loguru_that_goes_to_standard_logging_is_one_line(
    record: Callable[..., Recorder], loguru_output: list[Any], log: logging.Logger
) -> None:
    class Propagate(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.handle(record)

    recorder = record()
    loguru_logger.add(Propagate(), format="{message}")
    loguru_logger.warning("once for {}", "12345")
    assert bodies(recorder) == ["once for {}"]


def test_standard_logging_that_goes_to_loguru_is_one_line(
    record: Callable[..., Recorder], loguru_output: list[Any], log: logging.Logger
) -> None:
    class Intercept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loguru_logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())

    recorder = record()
    log.addHandler(Intercept())
    log.warning("once for %s", "12345")
    assert bodies(recorder) == ["once for %s"]
    assert [told["message"] for told in loguru_output] == ["once for 12345"]


# -- our own events --------------------------------------------------------------------------------------


def test_a_committed_write_of_somebody_is_announced(
    record: Callable[..., Recorder], sqlite_path: Path
) -> None:
    recorder = record()
    engine = create_engine(f"sqlite:///{sqlite_path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="nobody is bound"))
    with bind_identity("7"), engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        connection.rollback()
        connection.execute(select(Expense))
        connection.commit()
    with bind_identity("7", entry="webhook"), engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
    recorder.spans()
    (event,) = [
        line.log_record
        for line in lines(recorder)
        if line.log_record.event_name == semconv.EVENT_WRITE_COMMITTED
    ]
    (transaction,) = [
        span
        for span in recorder.spans()
        if (span.attributes or {}).get(semconv.TRANSACTION_ID)
        == (event.attributes or {})[semconv.TRANSACTION_ID]
        and span.name.startswith("TRANSACTION")
    ]
    assert (event.trace_id, event.span_id) == (transaction.context.trace_id, transaction.context.span_id)
    assert event.timestamp == transaction.end_time
    assert (event.attributes or {})[semconv.STATEMENT_TABLES] == ("expenses",)
