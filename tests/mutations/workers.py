"""Shares a rule's mutants out to processes, each with a store of its own.

Planning a mutant's queries is what takes the time, and the engine plans on one core.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from mutations.trial import Trial, attempt, variants

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import Rule
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Store, open_store
from trueline.monitor.store.migrate import migrate

#: The store of this process; it ends with it.
_store: Store | None = None


@contextmanager
def opened(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for :func:`share_out`."""
    with (
        tempfile.TemporaryDirectory(prefix="trueline-mutations-") as folder,
        # The embedded engine does not survive a fork.
        ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_open, initargs=(folder,)
        ) as pool,
    ):
        yield pool


def share_out(pool: ProcessPoolExecutor, workers: int, rule: Rule, names: Sequence[str]) -> Trial:
    """What :func:`.trial.attempt` says of the rule's mutants of these names."""
    tasks = [
        pool.submit(_attempt, rule.path, names[first::workers]) for first in range(min(workers, len(names)))
    ]
    trials = [task.result() for task in tasks]
    return Trial(
        rule.id,
        {name: tests for one in trials for name, tests in one.noticed.items()},
        sorted((name for one in trials for name in one.survivors), key=list(names).index),
        [name for one in trials for name in one.refused],
    )


def _open(folder: str) -> None:
    global _store
    _store = open_store(StoreSettings(data_dir=Path(tempfile.mkdtemp(dir=folder))))
    migrate(_store)


def _attempt(path: Path, names: Sequence[str]) -> Trial:
    assert _store is not None
    rule, wanted = load_rule(path), set(names)
    return attempt(rule, _store, [one for one in variants(rule) if one.name in wanted])
