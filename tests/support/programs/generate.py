"""Makes a random program from a seed: what applications do with databases, the bad habits included.

What a driver cannot do is left out (a note at each place says why); everything else may follow everything.
"""

from __future__ import annotations

import random
from typing import Any

from support.programs.interpret import Target
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

Steps = tuple[Step, ...]


def generate(seed: int, target: Target, *, shared: bool, refusals: bool = True) -> Program:
    """``shared``: other programs run at the same time and this one may wait for their locks.

    ``refusals``: COMMITs may be refused. SQLite then keeps the transaction in the pooled connection. sqlite3
    commits it when SQLAlchemy sets AUTOCOMMIT; refused again, SQLAlchemy leaves the connection in that mode
    for good, without knowing. Therefore a program on SQLite has refusals or AUTOCOMMIT.
    """
    return _Generator(seed, target, shared, refusals).program()


class _Generator:
    def __init__(self, seed: int, target: Target, shared: bool, refusals: bool) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.target = target
        self.shared = shared
        self.sqlite = not target.aborts
        self.refusals = refusals
        # An isolation level set and reset by SQLAlchemy ends what was set up on the driver's connection.
        self.levels = not target.autocommit and not target.begin_event
        self.autocommits = self.levels and not (self.sqlite and refusals)
        self.last = 0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def choose(self, **weights: float) -> str:
        """A name, underscores read as spaces."""
        (name,) = self.random.choices(list(weights), list(weights.values()))
        return name.replace("_", " ")

    def numbers(self, count: int = 1) -> tuple[int, ...]:
        self.last += count
        return tuple(range(self.last - count + 1, self.last + 1))

    def program(self) -> Program:
        return Program(self.seed, tuple(self.unit() for _ in range(self.random.randint(1, 4))))

    # -- units -----------------------------------------------------------------------------------------

    def unit(self) -> Unit:
        if self.chance(0.2 if self.sqlite else 0.12) and self.autocommits:
            return self.autocommit_unit()
        styles: list[Any] = ["connect", "engine.begin", "connection.begin", "session", "session.begin"]
        styles += ["maker.begin", "dependency", "finally close", "dropped"]
        (style,) = self.random.choices(styles, [5, 3, 3, 5, 3, 2, 3, 3, 1.5])
        handle: Any = "connection"
        if style in ("session", "session.begin", "maker.begin", "dependency") or (
            style in ("finally close", "dropped") and self.chance(0.5)
        ):
            handle = "session"
        isolation: Any = ""
        if self.chance(0.1) and style != "maker.begin" and self.levels:
            isolation = "SERIALIZABLE"
        end: Any = self.choose(commit=6, rollback=2, none=2).replace("none", "")
        session = handle == "session"
        # Two transactions on one handle, where the style lets it go on after a commit.
        free = style in ("connect", "session", "finally close", "dropped")
        body: Steps = self.steps(session, free=free)
        if free and self.chance(0.3):
            again: Any = Call(self.choose(commit=2, rollback=1))  # type: ignore[arg-type]
            body = (*body, again, *self.steps(session, free=free))
        ended_by_text = any(isinstance(step, Text) and step.sql in ("COMMIT", "ROLLBACK") for step in body)
        if not (ended_by_text and self.target.begins == "client"):
            # There, text leaves the client with a wrong idea; what is then cut off is nobody's guess.
            body = (*body, *self.accident(session, free))
        return Unit(style, body, end, handle, isolation)

    def autocommit_unit(self) -> Unit:
        isolation: Any = self.choose(AUTOCOMMIT=2, engine_AUTOCOMMIT=1)
        style: Any = self.choose(connect=4, session=2, finally_close=1)
        body: list[Step] = []
        for _ in range(self.random.randint(1, 4)):
            body.append(self.write(style == "session", alone=True))
            if self.chance(0.3):
                body.append(Read("rows"))
        if style != "session" and self.chance(0.5):
            body += self.textual_transaction()
        if self.target.is_async and self.chance(0.1):
            body.append(Call("cancel write in flight", *self.numbers()))
        elif self.chance(0.1):
            body.append(Raise())
        if not self.sqlite and self.chance(0.1):
            body += [Call("kill"), self.write(style == "session", alone=True)]
        end: Any = self.choose(commit=1, rollback=1, none=1).replace("none", "")
        return Unit(style, tuple(body), end, "session" if style == "session" else "connection", isolation)

    def textual_transaction(self) -> Steps:
        """BEGIN as text on a connection that commits by itself, always ended by text too.

        psycopg2 and asyncpg hand a connection with such a transaction left open to the next user.
        """
        inner: Steps = tuple(self.write(False) for _ in range(self.random.randint(1, 3)))
        if self.chance(0.4):
            undo = self.chance(0.6)
            named = "ROLLBACK TO SAVEPOINT a" if undo else "RELEASE SAVEPOINT a"
            inner = (*inner, Text("SAVEPOINT a"), self.write(False, violates=False), Text(named))
            inner = (*inner, self.write(False))
        rescue = Attempt(inner, (Text("ROLLBACK"),), again=True)
        return (Text("BEGIN"), rescue, Text(self.choose(COMMIT=2, ROLLBACK=1)))

    # -- bodies ----------------------------------------------------------------------------------------

    def steps(self, session: bool, *, free: bool, depth: int = 0) -> Steps:
        return tuple(self.step(session, free, depth) for _ in range(self.random.randint(1, 4)))

    def step(self, session: bool, free: bool, depth: int) -> Step:
        kind = self.choose(
            write=56, read=12, savepoint=14 if depth < 2 else 0, attempt=6, error=2,
            text=3 if not depth else 0,
            joined=4 if not session and not depth else 0, expire=2 if session else 0,
        )  # fmt: skip
        match kind:
            case "write":
                return self.write(session)
            case "read":
                return self.read()
            case "savepoint":
                return self.savepoint(session, depth)
            case "attempt":
                return self.attempt(session, free, depth)
            case "text":
                return self.text()
            case "joined":
                return self.joined(depth)
            case "expire":
                return Call(self.random.choice(["expire", "flush"]))
            case _:
                return Raise("Stop" if self.chance(0.1) else "ApplicationError")

    def write(self, session: bool, *, alone: bool = False, violates: bool = True) -> Write:
        if self.shared and self.chance(0.08):
            return Write("shared", (), "", self.chance(0.5))
        # The asyncio drivers of PostgreSQL and insertmanyvalues: RETURNING is what makes pages of it.
        how: Any = self.choose(
            insert=6, update=3, delete=2, executemany=1.5, values=1.5,
            add=5 if session else 0, add_pending=1.5 if session and not alone else 0,
            add_many=2 if session else 0, rename=2 if session else 0,
        )  # fmt: skip
        many = how in ("executemany", "values", "add many")
        numbers = self.numbers(self.random.randint(2, 5) if many else 1)
        violation: Any = ""
        if violates and how not in ("delete", "add pending"):
            # If the statement commits by itself, sqlite3 checks what is deferred when the rows of RETURNING
            # are fetched, after SQLAlchemy's event.
            late = self.sqlite and how in ("values", "add many") and self.target.autocommit
            deferred = 0 if late or (self.sqlite and not self.refusals) else 4
            violation = self.choose(
                none=80, unique=15, deferred=deferred, or_rollback=2 if self.sqlite and how == "insert" else 0
            ).replace("none", "")
        return Write(how, numbers, violation, self.chance(0.5))

    def read(self) -> Read:
        how: Any = self.choose(
            rows=6, streamed=2, left_open=1, failing=0.7,
            timed_out=0 if self.sqlite or self.target.autocommit else 0.3,
        )  # fmt: skip
        return Read(how, self.chance(0.5))

    def savepoint(self, session: bool, depth: int) -> Savepoint:
        end: Any = self.choose(block=6, rollback=2, dangling=1)
        return Savepoint(self.steps(session, free=False, depth=depth + 1), end, self.chance(0.7))

    def attempt(self, session: bool, free: bool, depth: int) -> Attempt:
        inner = (*self.steps(session, free=False, depth=depth + 1), *([Raise()] if self.chance(0.6) else []))
        handler: Steps = ()
        if free:
            rollback: Steps = (Call("rollback"),)
            options: list[Steps] = [rollback, rollback, (Call("commit"),), (Call("close"),), ()]
            options.append((Call("rollback"), self.write(session)))
            handler = self.random.choice(options)
        return Attempt(inner, handler, self.chance(0.4), self.chance(0.2))

    def text(self) -> Step:
        name = self.random.choice("ab")
        return Text(
            self.random.choice(
                [
                    "COMMIT",
                    "ROLLBACK",
                    f"SAVEPOINT {name}",
                    f"SAVEPOINT {name}",
                    f"ROLLBACK TO SAVEPOINT {name}",
                ]
            )
        )

    def joined(self, depth: int) -> Joined:
        mode: Any = self.random.choice(
            ["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]
        )
        end: Any = self.choose(commit=5, rollback=2, none=2).replace("none", "")
        body: Steps = tuple(self.write(True) for _ in range(self.random.randint(1, 3)))
        if self.chance(0.15):
            body = (*body, Raise())
        return Joined(body, mode, end)

    # -- what happens to a handle ------------------------------------------------------------------------

    def accident(self, session: bool, free: bool) -> Steps:
        """Mostly nothing."""
        if self.chance(0.82):
            return ()
        options: list[Steps] = [(Call("invalidate"),), (Raise(),)]
        if not self.sqlite:
            options += [
                (Call("kill"),),
                (Call("kill"), self.write(session)),
                (Call("kill"), Call("rollback")),
            ]
        if free and not session and (self.refusals or not self.sqlite):
            options += [(self.deferred(), Call("repair and commit"))] * 2
        if self.target.is_async:
            options += [
                (Call("cancel"),),
                (Call("cancel in flight"),),
                (Call("cancel write in flight", *self.numbers()),),
                (TimeOut((self.write(session),)),),
                (Attempt((Call("cancel"),), (Call("rollback"),), again=True, everything=True),),
            ]
            if free:
                options += [(Call("cancel commit"),)]
        if free:
            options += [(Call("close"),), (Call("rollback"), self.write(session))]
        return self.random.choice(options)

    def deferred(self) -> Write:
        return Write("insert", self.numbers(), "deferred", swallow=True)
