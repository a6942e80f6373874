"""Runs a program against a real engine, sync or async, and tells the oracle what it did."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from support.programs.calls import Block, drive, settle
from support.programs.oracle import Begins, Line, Mark, Written
from support.programs.schema import DONE, NO_PARENT, SHARED, TAKEN, Entry, Parent
from support.programs.steps import (
    Attempt,
    Call,
    Joined,
    Program,
    Raise,
    Read,
    Savepoint,
    Step,
    Text,
    TimeOut,
    Unit,
    Write,
)

#: For a call that is cancelled in flight: longer than any delay of a busy machine.
_LONG = 60
#: Rows of one statement of insertmanyvalues.
_PAGE = 2


#: The line of the unit that runs here; for what happens to its connection in the pool.
current_line: ContextVar[Line | None] = ContextVar("current_line", default=None)


class ApplicationError(Exception):
    """An error of the application's own."""


class Stop(BaseException):
    """Likewise, but not an Exception, as SystemExit."""


@dataclass(frozen=True, slots=True)
class Target:
    """What programs run against."""

    engine: Any
    #: pysqlite, psycopg, psycopg2, aiosqlite, asyncpg
    driver: str
    is_async: bool
    #: Who begins a transaction: see the oracle.
    begins: Begins
    #: The driver's connections commit every statement by themselves.
    autocommit: bool
    #: Ends the server process with this id and waits until it is gone.
    terminate: Callable[[int], None]
    #: Closes what SQLAlchemy could not when an async connection was collected.
    close_dropped: Callable[[], Awaitable[None]]

    @property
    def aborts(self) -> bool:
        """PostgreSQL."""
        return "sqlite" not in self.driver

    @property
    def begin_event(self) -> bool:
        """SQLite that is told BEGIN by a listener."""
        return not self.aborts and self.begins == "client" and not self.autocommit


@dataclass(slots=True)
class Handle:
    """A connection or a session in the program's hands."""

    object: Any
    line: Line
    is_session: bool = False
    #: Savepoints that a failing flush would roll back to, innermost last.
    marks: list[Mark] = field(default_factory=list)
    #: Objects added and not yet flushed, with their keys.
    pending: list[tuple[Any, str]] = field(default_factory=list)
    #: A flush failed, and the session waits for rollback().
    inactive: bool = False
    #: A session that joined a connection's transaction rolls back the connection's when it fails.
    joined: str = ""


class Interpreter:
    """Runs one program. ``record`` says of every key what the oracle knows."""

    def __init__(self, target: Target, program: Program, prefix: str) -> None:
        self.target = target
        self.program = program
        self.prefix = prefix
        self.record: dict[str, Written] = {}
        self.lines: list[Line] = []
        #: Exceptions that the program is handling, innermost last.
        self.handling: list[BaseException] = []
        self._open_results: list[Any] = []

    def key(self, number: int) -> str:
        """The row of a write."""
        return f"{self.prefix}-{number}"

    # -- running -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run a sync program."""
        drive(self._run())

    async def run_async(self) -> None:
        """Run an async program, each unit in a task of its own, as a server would."""
        for unit in self.program.units:
            task = asyncio.create_task(self._unit(unit))
            await asyncio.wait({task})
            if not task.cancelled():
                self._expected(task.exception())
            del task
            self._open_results.clear()
            if unit.style == "dropped":
                gc.collect()
                await self.target.close_dropped()

    async def _run(self) -> None:
        for unit in self.program.units:
            try:
                await self._unit(unit)
            except BaseException as error:
                self._expected(error)
            self._open_results.clear()
            if unit.style == "dropped":
                gc.collect()

    @staticmethod
    def _expected(error: BaseException | None) -> None:
        # sqlite3.Error: sqlite3 commits when SQLAlchemy sets the isolation level, and may refuse to.
        # IndexError: psycopg's executemany() on a connection that has just been cut.
        known = (ApplicationError, Stop, SQLAlchemyError, TimeoutError, sqlite3.Error, IndexError, type(None))
        if not isinstance(error, known):
            raise error

    # -- units: from taking a handle to leaving it -----------------------------------------------------

    def _line(self, unit: Unit) -> Line:
        line = Line(
            aborts=self.target.aborts,
            begins=self.target.begins,
            autocommit=self.target.autocommit or "AUTOCOMMIT" in unit.isolation,
            record=self.record,
        )
        self.lines.append(line)
        current_line.set(line)
        return line

    def _engine(self, unit: Unit) -> Any:
        if unit.isolation == "engine AUTOCOMMIT" or (unit.isolation and unit.style == "engine.begin"):
            return self.target.engine.execution_options(isolation_level=unit.isolation.split()[-1])
        return self.target.engine

    async def _unit(self, unit: Unit) -> None:
        line = self._line(unit)
        engine = self._engine(unit)
        session_class: Any = AsyncSession if self.target.is_async else Session
        maker_class: Any = async_sessionmaker if self.target.is_async else sessionmaker
        match unit.style:
            case "connect":
                await self._block(unit, engine.connect(), Handle(None, line))
            case "engine.begin":
                await self._block(unit, engine.begin(), Handle(None, line), commits=True)
            case "connection.begin":
                async with Block(engine.connect()) as connection:
                    if unit.isolation in ("AUTOCOMMIT", "SERIALIZABLE"):
                        await settle(connection.execution_options(isolation_level=unit.isolation))
                    begun = Handle(connection, line)
                    await self._block(unit, connection.begin(), begun, commits=True)
            case "session":
                await self._block(unit, session_class(engine), Handle(None, line, is_session=True))
            case "session.begin":
                async with Block(session_class(engine)) as session:
                    begun = Handle(session, line, is_session=True)
                    await self._block(unit, session.begin(), begun, commits=True)
            case "maker.begin":
                handle = Handle(None, line, is_session=True)
                await self._block(unit, maker_class(engine).begin(), handle, commits=True)
            case "dependency":
                handle = Handle(session_class(engine), line, is_session=True)
                async with self._dependency(handle):
                    await self._body(unit.body, handle)
            case "finally close":
                await self._finally_close(unit, engine, line, session_class)
            case "dropped":
                await self._dropped(unit, engine, line, session_class)

    async def _start(self, unit: Unit, handle: Handle) -> None:
        if unit.isolation in ("AUTOCOMMIT", "SERIALIZABLE") and unit.style not in (
            "engine.begin",
            "connection.begin",
        ):
            if handle.is_session:
                options = {"isolation_level": unit.isolation}
                await settle(handle.object.connection(execution_options=options))
            else:
                await settle(handle.object.execution_options(isolation_level=unit.isolation))

    async def _block(self, unit: Unit, manager: Any, handle: Handle, *, commits: bool = False) -> None:
        inside = True
        try:
            async with Block(manager) as given:
                if handle.object is None:
                    handle.object = given
                try:
                    await self._start(unit, handle)
                    await self._body(unit.body, handle)
                    if not commits:
                        await self._end(unit, handle)
                except BaseException as error:
                    handle.line.closed(error)
                    raise
                inside = False
                if not commits:
                    handle.line.closed(None)
        except BaseException as error:
            if commits and not inside:
                self._commit_raised(handle, error)
                # What the block does when its commit raises.
                handle.line.rolled_back(error)
            raise
        if commits:
            self._committed(handle)

    async def _end(self, unit: Unit, handle: Handle) -> None:
        if unit.end:
            await self._call(Call(unit.end), handle)

    @asynccontextmanager
    async def _dependency(self, handle: Handle) -> AsyncIterator[None]:
        leaving: BaseException | None = None
        try:
            yield
            await self._call(Call("commit"), handle)
        except Exception as error:
            leaving = error
            handle.line.rolled_back(error)
            await settle(handle.object.rollback())
            raise
        except BaseException as error:
            leaving = error
            raise
        finally:
            handle.line.closed(leaving)
            await settle(handle.object.close())

    async def _finally_close(self, unit: Unit, engine: Any, line: Line, session_class: Any) -> None:
        if unit.handle == "session":
            handle = Handle(session_class(engine), line, is_session=True)
        else:
            handle = Handle(await settle(engine.connect()), line)
        leaving: BaseException | None = None
        try:
            await self._start(unit, handle)
            await self._body(unit.body, handle)
            await self._end(unit, handle)
        except BaseException as error:
            leaving = error
            raise
        finally:
            line.closed(leaving)
            leaving = None
            await settle(handle.object.close())

    async def _dropped(self, unit: Unit, engine: Any, line: Line, session_class: Any) -> None:
        if unit.handle == "session":
            handle = Handle(session_class(engine), line, is_session=True)
        else:
            handle = Handle(await settle(engine.connect()), line)
        try:
            await self._body(unit.body, handle)
            await self._end(unit, handle)
            line.dropped(None)
        except BaseException as error:
            line.dropped(error)
            raise

    # -- steps -----------------------------------------------------------------------------------------

    async def _body(self, steps: tuple[Step, ...], handle: Handle) -> None:
        for step in steps:
            match step:
                case Write():
                    await self._write(step, handle)
                case Read():
                    await self._read(step, handle)
                case Call():
                    await self._call(step, handle)
                case Text():
                    await self._text(step, handle)
                case Savepoint():
                    await self._savepoint(step, handle)
                case Attempt():
                    await self._attempt(step, handle)
                case TimeOut():
                    await self._body(step.body, handle)
                    async with asyncio.timeout(0.001):
                        await asyncio.sleep(_LONG)
                case Joined():
                    await self._joined(step, handle)
                case Raise():
                    raise Stop if step.kind == "Stop" else ApplicationError

    async def _attempt(self, step: Attempt, handle: Handle) -> None:
        try:
            await self._body(step.body, handle)
        except BaseException as error:
            if not isinstance(error, Exception) and not step.everything:
                raise
            self.handling.append(error)
            try:
                await self._body(step.handler, handle)
            finally:
                self.handling.pop()
            if step.again or not isinstance(error, Exception):
                raise

    async def _write(self, step: Write, handle: Handle) -> None:
        keys = tuple(self.key(number) for number in step.numbers)
        if step.how == "add pending":
            for key in keys:
                entry = Entry(user_id=key)
                handle.object.add(entry)
                handle.pending.append((entry, key))
            return
        one_by_one = step.how == "executemany" and (
            not self.target.aborts or (self.target.driver == "psycopg2" and handle.line.autocommit)
        )
        try:
            await self._perform(step, handle, keys)
        except BaseException as error:
            if step.how in ("add", "add many"):
                keys = ()
            elif step.how == "shared" and not self._refused(error):
                handle.line.wrote(())
            elif step.how == "values":
                keys = self._page(handle, error, keys)
            self._failed(handle, error, keys, one_by_one=one_by_one)
            if step.violates == "or rollback" and isinstance(error, IntegrityError):
                handle.line.rolled_back_by_error()
                handle.line.outside = handle.line.begins == "client"
            if not step.swallow or not isinstance(error, SQLAlchemyError):
                raise
        else:
            self._flushed(handle)
            if step.how in ("add", "add many"):
                pass
            else:
                handle.line.wrote(keys)

    @staticmethod
    def _page(handle: Handle, error: BaseException, keys: tuple[str, ...]) -> tuple[str, ...]:
        """The rows of the statement that failed; those before it were written by statements of their own.

        They come in pages, and an ORM session makes another statement for rows with other columns set.
        """
        sent = str(error.params) if isinstance(error, DBAPIError) else ""
        failed = tuple(key for key in keys if f"'{key}'" in sent) or keys
        before = keys[: keys.index(failed[0])]
        if before:
            handle.line.wrote(before)
        return failed

    async def _perform(self, step: Write, handle: Handle, keys: tuple[str, ...]) -> None:
        target = handle.object
        once = TAKEN if step.violates in ("unique", "or rollback") else None
        parent = NO_PARENT if step.violates == "deferred" else None
        rows = [{"user_id": key, "once": None, "parent_id": parent} for key in keys]
        if rows:
            rows[-1]["once"] = once
        match step.how:
            case "insert" if step.violates == "or rollback":
                sql = text("INSERT OR ROLLBACK INTO entries (user_id, once) VALUES (:user_id, :once)")
                await settle(target.execute(sql, {"user_id": keys[0], "once": once}))
            case "insert":
                await settle(target.execute(insert(Entry).values(**rows[0])))
            case "update":
                chosen = update(Entry).where(Entry.user_id == keys[0])
                await settle(target.execute(chosen.values(value=DONE, once=once, parent_id=parent)))
            case "delete":
                await settle(target.execute(delete(Entry).where(Entry.user_id == keys[0])))
            case "add" | "add many":
                entries = [Entry(**row) for row in rows]
                target.add_all(entries)
                # Should SQLAlchemy refuse to flush now, they are written later.
                handle.pending += zip(entries, keys, strict=True)
                await settle(target.flush())
            case "rename":
                found = await settle(target.execute(select(Entry).where(Entry.user_id == f"old-{keys[0]}")))
                entry = found.scalar_one()
                entry.user_id, entry.once, entry.parent_id = keys[0], once, parent
                await settle(target.flush())
            case "executemany":
                sql = text(
                    "INSERT INTO entries (user_id, once, parent_id) VALUES (:user_id, :once, :parent_id)"
                )
                await settle(target.execute(sql, rows))
            case "values":
                options = {"insertmanyvalues_page_size": _PAGE}
                returning = insert(Entry).returning(Entry.id).execution_options(**options)
                await settle(target.execute(returning, rows))
            case "shared":
                await settle(target.execute(update(Entry).where(Entry.user_id == SHARED).values(value="x")))

    async def _read(self, step: Read, handle: Handle) -> None:
        target = handle.object
        rows = select(Entry.id).limit(5)
        try:
            match step.how:
                case "rows":
                    (await settle(target.execute(rows))).all()
                case "failing":
                    broken = "SELECT 1/0" if self.target.aborts else "SELECT missing FROM entries"
                    await settle(target.execute(text(broken)))
                case "timed out":
                    await settle(target.execute(text("SET LOCAL statement_timeout = 10")))
                    await settle(target.execute(text("SELECT pg_sleep(60)")))
                case _ if self.target.is_async:
                    result = await target.stream(rows)
                    await result.fetchmany(2)
                    await self._leave_result(step, result)
                case _:
                    result = target.execute(rows.execution_options(stream_results=True, max_row_buffer=1))
                    result.fetchmany(2)
                    await self._leave_result(step, result)
        except BaseException as error:
            self._failed(handle, error)
            if not step.swallow or not isinstance(error, SQLAlchemyError):
                raise
        else:
            self._flushed(handle)
            handle.line.ran()

    async def _leave_result(self, step: Read, result: Any) -> None:
        if step.how == "left open":
            self._open_results.append(result)
        else:
            await settle(result.close())

    async def _text(self, step: Text, handle: Handle) -> None:
        line = handle.line
        verb, _, name = step.sql.rpartition(" ")
        if not verb:
            verb = name
        mark = line.named(name)
        try:
            await settle(handle.object.execute(text(step.sql)))
        except BaseException as error:
            if verb == "COMMIT" and isinstance(error, IntegrityError) and not handle.pending:
                line.commit_refused(stays_open=not self.target.aborts)
            else:
                self._failed(handle, error)
            raise
        self._flushed(handle)
        match verb:
            case "BEGIN":
                line.begin_text()
            case "COMMIT":
                line.committed(by_text=True)
            case "ROLLBACK":
                # A coroutine's exception is not seen where the text runs (docs/decisions/005).
                line.rolled_back(None if self.target.is_async else self._handled(), by_text=True)
            case "SAVEPOINT":
                line.savepoint(name)
            case "ROLLBACK TO SAVEPOINT" if mark is not None:
                line.rollback_to(mark)
            case "RELEASE SAVEPOINT" if mark is not None:
                line.release(mark)

    def _handled(self) -> BaseException | None:
        return self.handling[-1] if self.handling else None

    # -- savepoints and joined sessions ------------------------------------------------------------------

    async def _savepoint(self, step: Savepoint, handle: Handle) -> None:
        if step.end == "dangling":
            try:
                await settle(handle.object.begin_nested())
                await self._use(handle)
            except BaseException as error:
                self._failed(handle, error)
                raise
            self._flushed(handle)
            handle.marks.append(handle.line.savepoint())
            await self._body(step.body, handle)
            return
        body_raised = True
        mark: Mark | None = None
        try:
            async with Block(handle.object.begin_nested()) as savepoint:
                await self._use(handle)
                self._flushed(handle)
                mark = handle.line.savepoint()
                handle.marks.append(mark)
                try:
                    await self._body(step.body, handle)
                    if step.end == "rollback" and savepoint.is_active:
                        handle.line.rollback_to(mark)
                        await settle(savepoint.rollback())
                except BaseException:
                    if savepoint.is_active and handle.line.dead:
                        handle.line.lost()
                    elif savepoint.is_active:
                        handle.line.rollback_to(mark)
                    raise
                body_raised = False
                was_active = savepoint.is_active
        except BaseException as error:
            self._drop_mark(handle, mark)
            if mark is None or not body_raised:
                self._failed(handle, error)
            if mark is not None and not body_raised and handle.is_session and not _releases(error):
                handle.line.rollback_to(mark)  # its flush failed
            self._forget(handle)
            if not step.swallow or not isinstance(error, (ApplicationError, SQLAlchemyError)):
                raise
        else:
            self._flushed(handle)
            self._drop_mark(handle, mark)
            if was_active:
                handle.line.release(mark)
            self._forget(handle)

    @staticmethod
    def _forget(handle: Handle) -> None:
        """A savepoint that is rolled back expunges what was added in it."""
        handle.pending = [(entry, key) for entry, key in handle.pending if not _is_transient(entry)]

    async def _use(self, handle: Handle) -> None:
        """A session asks for its savepoint with its first use; on SQLite it matters which comes first."""
        if handle.is_session and not self.target.aborts:
            await settle(handle.object.connection())

    @staticmethod
    def _drop_mark(handle: Handle, mark: Mark | None) -> None:
        if mark in handle.marks:
            del handle.marks[handle.marks.index(mark) :]
        handle.inactive = handle.is_session and not handle.object.is_active

    async def _joined(self, step: Joined, outer: Handle) -> None:
        session_class: Any = AsyncSession if self.target.is_async else Session
        mode = step.mode
        if outer.object.in_nested_transaction():
            mode = "create_savepoint"  # the others would end the connection's savepoint for it
        nested = mode == "create_savepoint"
        joined = "savepoint" if nested else mode
        if not outer.object.in_transaction():
            joined = "control_fully"  # there is nothing to join: the session's own transaction
            nested = False
        handle = Handle(None, outer.line, is_session=True, joined=joined)
        leaving: BaseException | None = None
        try:
            async with Block(session_class(bind=outer.object, join_transaction_mode=mode)) as session:
                handle.object = session
                try:
                    # It joins, or takes its savepoint, with its first use of the connection.
                    await settle(session.connection())
                    if nested:
                        handle.marks.append(outer.line.savepoint())
                    await self._body(step.body, handle)
                    if step.end:
                        await self._call(Call(step.end), handle)
                except BaseException as error:
                    leaving = error
                    raise
                finally:
                    self._leave_joined(handle, leaving)
        finally:
            outer.marks = [mark for mark in outer.marks if mark.transaction is outer.line.transaction]

    @staticmethod
    def _leave_joined(handle: Handle, leaving: BaseException | None) -> None:
        if handle.joined == "savepoint" and handle.marks:
            handle.line.rollback_to(handle.marks[0])
        elif handle.joined == "control_fully":
            handle.line.closed(leaving)

    # -- calls -------------------------------------------------------------------------------------------

    async def _call(self, step: Call, handle: Handle) -> None:
        target = handle.object
        match step.what:
            case "commit":
                await self._commit(handle)
            case "rollback":
                await self._rollback(handle)
            case "flush":
                try:
                    await settle(target.flush())
                except BaseException as error:
                    self._failed(handle, error)
                    raise
                self._flushed(handle)
            case "expire":
                target.expire_all()
            case "close":
                handle.line.closed(self._handled())
                handle.marks.clear()
                handle.pending.clear()
                await settle(target.close())
                handle.inactive = False
            case "invalidate":
                # A savepoint that text has ended keeps a session from getting there.
                await settle(target.invalidate())
                handle.line.lost()
            case "kill":
                await self._kill(handle)
            case "cancel":
                self._cancel_soon()
                await asyncio.sleep(_LONG)
            case "cancel in flight" | "cancel write in flight":
                await self._cancel_in_flight(step, handle)
            case "cancel commit":
                self._cancel_soon()
                await self._commit(handle)
                await asyncio.sleep(_LONG)
            case "repair and commit":
                await self._repair_and_commit(handle)

    async def _commit(self, handle: Handle) -> None:
        try:
            await settle(handle.object.commit())
        except BaseException as error:
            self._commit_raised(handle, error)
            raise
        if not handle.line.inherited:
            self._committed(handle)

    def _committed(self, handle: Handle) -> None:
        self._flushed(handle)
        if handle.joined in ("", "control_fully"):
            handle.line.committed()
        elif handle.joined == "savepoint" and handle.marks:
            handle.line.release(handle.marks[0])
        handle.marks.clear()

    def _commit_raised(self, handle: Handle, error: BaseException) -> None:
        if isinstance(error, DBAPIError) and error.statement is None:
            # The flush came before, and what it wrote is gone from the session again.
            for _, key in handle.pending:
                handle.line.wrote((key,))
            handle.pending.clear()
            if error.connection_invalidated:
                handle.line.commit_unanswered()
            else:
                self._flushed(handle)
                handle.line.commit_refused(stays_open=not self.target.aborts)
                handle.marks.clear()
        elif isinstance(error, asyncio.CancelledError):
            self._flushed(handle)
            handle.line.commit_unanswered()
        else:
            self._failed(handle, error, commits=True)

    async def _rollback(self, handle: Handle) -> None:
        if handle.joined == "savepoint":
            if handle.marks:
                handle.line.rollback_to(handle.marks[0])
        elif handle.is_session and handle.line.dead and handle.line.in_savepoint(handle.marks):
            handle.line.lost()  # the session's savepoint comes first, and its rollback finds out
        else:
            handle.line.rolled_back(self._handled())
        handle.marks.clear()
        handle.pending.clear()
        await settle(handle.object.rollback())
        handle.inactive = False

    async def _repair_and_commit(self, handle: Handle) -> None:
        """Commit; should the deferred foreign key be violated, put that right and commit again."""
        try:
            await self._commit(handle)
        except DBAPIError as error:
            if error.connection_invalidated or handle.is_session:
                raise
            await settle(
                handle.object.execute(text("UPDATE entries SET parent_id = NULL WHERE parent_id < 0"))
            )
            await self._commit(handle)

    def _cancel_soon(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)

    async def _cancel_in_flight(self, step: Call, handle: Handle) -> None:
        task = asyncio.current_task()
        assert task is not None
        keys = (self.key(step.number),) if step.number else ()
        pause = (
            "(SELECT CAST(pg_sleep(60) AS text))"
            if self.target.aborts
            else "(WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000000)"
            " SELECT max(x) FROM c)"
        )
        sql = f"INSERT INTO entries (user_id, value) VALUES (:key, {pause})" if keys else f"SELECT {pause}"
        try:
            # Not before the statement is on its way: whatever comes before it must be done.
            await settle(handle.object.execute(text("SELECT 1")))
            self._flushed(handle)
            handle.line.ran()
            timer = asyncio.get_running_loop().call_later(0.05, task.cancel)
            await settle(handle.object.execute(text(sql), {"key": keys[0]} if keys else {}))
            timer.cancel()
        except BaseException as error:
            self._failed(handle, error, keys)
            raise
        if keys:
            handle.line.wrote(keys)

    async def _kill(self, handle: Handle) -> None:
        try:
            pid = (await settle(handle.object.execute(text("SELECT pg_backend_pid()")))).scalar_one()
        except BaseException as error:
            self._failed(handle, error)
            raise
        self._flushed(handle)
        handle.line.ran()
        handle.line.killed = handle.line.dead = True
        if self.target.is_async:
            await asyncio.to_thread(self.target.terminate, pid)
        else:
            self.target.terminate(pid)

    # -- what an error tells the program -------------------------------------------------------------------

    @staticmethod
    def _refused(error: BaseException) -> bool:
        """SQLAlchemy did not go to the database at all."""
        return not isinstance(error, (DBAPIError, asyncio.CancelledError, IndexError))

    def _flushed(self, handle: Handle) -> None:
        """Pending objects that a flush has written."""
        waiting = []
        for entry, key in handle.pending:
            state: Any = inspect(entry)
            if state.persistent or state.detached:
                handle.line.wrote((key,))
            elif state.pending or state.transient:
                waiting.append((entry, key))
        handle.pending = waiting

    def _failed(
        self,
        handle: Handle,
        error: BaseException,
        keys: tuple[str, ...] = (),
        *,
        one_by_one: bool = False,
        commits: bool = False,
    ) -> None:
        """A call raised: what has become of the transaction?"""
        line = handle.line
        lost = getattr(error, "connection_invalidated", False) or isinstance(error, asyncio.CancelledError)
        flush_failed = handle.is_session and not handle.object.is_active and not handle.inactive
        pending = tuple(key for _, key in handle.pending) if flush_failed or lost else ()
        if flush_failed:
            handle.pending.clear()
        elif not lost:
            self._flushed(handle)
            pending = tuple(key for entry, key in handle.pending if _is_transient(entry))
            handle.pending = [(entry, key) for entry, key in handle.pending if not _is_transient(entry)]
        if pending and not self._refused(error):
            pending = self._page(handle, error, pending)
        if not self._refused(error):
            for failed in (pending, keys):
                if failed:
                    line.wrote(failed, raised=True, one_by_one=one_by_one)
        if lost:
            if isinstance(error, asyncio.CancelledError):
                line.killed = True
            during = (*keys, *pending)
            line.lost(tuple(self.record[key] for key in during if key in self.record))
            handle.inactive = handle.is_session and not handle.object.is_active
            return
        if isinstance(error, DBAPIError):
            line.server_error()
        if flush_failed or (commits and handle.is_session and not self._refused(error)):
            if handle.marks and not commits:
                line.rollback_to(handle.marks[-1])
            else:
                line.rolled_back_by_error()
            handle.inactive = not handle.object.is_active


def _is_transient(entry: Any) -> bool:
    state: Any = inspect(entry)
    return bool(state.transient)


def _releases(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and "RELEASE" in (error.statement or "")


__all__ = ["ApplicationError", "Interpreter", "Parent", "Target", "current_line"]
