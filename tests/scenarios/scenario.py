"""What a scenario is: something that people see happen, and what the monitor has to say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.stage import Stage

POSTGRESQL, SQLITE = "postgresql", "sqlite"
BOTH = (POSTGRESQL, SQLITE)
#: What the monitor is told about all applications; those that are to know it as well declare it.
DECLARATIONS = Path(__file__).with_name("trueline.yaml")
DECLARED = DECLARATIONS.read_text()
#: Verdicts of a diagnosis, as the monitor says them.
VERDICTS = ("commit", "environment", "keys", "timing", "cache", "healthy", "cannot_tell")


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose diagnosis is asked for: a value as the application knows it."""

    value: str
    domain: str = "user"
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding that must come.

    ``group`` are values that its group must have, ``services`` and ``versions`` must be among its own, and
    each of ``tells`` must stand somewhere in its texts.
    """

    rule: str
    group: Mapping[str, Any] = field(default_factory=dict)
    services: Sequence[str] = ()
    versions: Sequence[str] = ()
    tells: Sequence[str] = ()


Play = Callable[["Stage"], "str | Whom | None"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario on one kind of database.

    ``expected`` is empty for a benign twin. ``also`` are rules whose findings follow from the same cause
    and are no mistake; they are not waited for. ``verdict`` is what the diagnosis of the one whom the play
    returns must say; None: nobody is asked about. ``first`` is the rule that must stand first in the one
    incident. ``declares`` is what the owner says in trueline.yaml, without its head.
    """

    name: str
    about: str
    title: str
    why: str
    database: str
    expected: tuple[Expected, ...]
    also: tuple[str, ...]
    verdict: str | None
    first: str | None
    play: Play
    declares: str = ""

    @property
    def application(self) -> str:
        """Its service.namespace, and what its environments begin with. No other scenario has it."""
        return self.name.replace("/", "-").replace("[", "-").replace("]", "")

    @property
    def declarations(self) -> str:
        """Its trueline.yaml, which services and monitor both read; empty: it has none."""
        return f"version: 1\napplication: {self.application}\n{self.declares}" if self.declares else ""

    @property
    def kind(self) -> str:
        """``incident`` or ``twin``."""
        return "incident" if self.expected else "twin"


class Book:
    """The scenarios of one incident. ``about`` is its rule, or the write-up; ``verdict`` what diagnoses say.

    ``declares`` is what stands in their trueline.yaml; a scenario's own goes before it. Decorated is a
    function of a stage that plays the scenario and returns who is affected. Its docstring's first line is the
    title.
    """

    def __init__(self, about: str, *, verdict: str | None, declares: str = "") -> None:
        self.about = about
        self._verdict, self._declares = verdict, declares
        self.scenarios: list[Scenario] = []

    def variant(
        self,
        *expected: Expected,
        on: Sequence[str] = (POSTGRESQL,),
        group: Mapping[str, Any] | None = None,
        services: Sequence[str] = (),
        versions: Sequence[str] = (),
        tells: Sequence[str] = (),
        also: Sequence[str] = (),
        verdict: str | None = "",
        declares: str | None = None,
    ) -> Callable[[Play], Play]:
        """It goes wrong. Without ``expected``: one finding of the rule that this book is about."""
        wanted = expected or (Expected(self.about, group or {}, services, versions, tells),)
        said = self._verdict if verdict == "" else verdict
        return self._enter(on, wanted, also, said, "", declares)

    def twin(
        self,
        why: str,
        *,
        on: Sequence[str] = (POSTGRESQL,),
        also: Sequence[str] = (),
        verdict: str | None = "healthy",
        declares: str | None = None,
    ) -> Callable[[Play], Play]:
        """It looks alike and is none, and ``why``."""
        return self._enter(on, (), also, verdict, why, declares)

    def _enter(
        self,
        on: Sequence[str],
        expected: tuple[Expected, ...],
        also: Sequence[str],
        verdict: str | None,
        why: str,
        declares: str | None,
    ) -> Callable[[Play], Play]:
        assert verdict is None or verdict in VERDICTS, verdict
        assert set(on) <= set(BOTH), on

        def enter(play: Play) -> Play:
            title = (play.__doc__ or "").strip().splitlines()[0]
            name = getattr(play, "__name__", "")
            for database in on:
                self.scenarios.append(
                    Scenario(
                        name=f"{self.about}/{name}" + ("" if database == POSTGRESQL else f"[{database}]"),
                        about=self.about,
                        title=title,
                        why=why,
                        database=database,
                        expected=expected,
                        also=tuple(also),
                        verdict=verdict,
                        first=expected[0].rule if expected else None,
                        play=play,
                        declares=self._declares if declares is None else declares,
                    )
                )
            return play

        return enter
