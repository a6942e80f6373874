"""What is made when it is first used: made once, tried again, and not blamed for an import under way."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueline.instrumentation import late
from trueline.instrumentation.guard import internal_errors

#: Each wants a name of the other: whoever comes second meets a module that is not ready.
FIRST = "import half_second\nready = True\n"
SECOND = "from half_first import ready\n"


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "half_first.py").write_text(FIRST)
    (tmp_path / "half_second.py").write_text(SECOND)
    monkeypatch.syspath_prepend(tmp_path)
    before = internal_errors.copy()
    yield
    internal_errors.clear()
    internal_errors.update(before)
    for name in ("half_first", "half_second"):
        sys.modules.pop(name, None)


def test_a_module_that_is_being_imported_is_tried_again_and_at_last_counted(half: None) -> None:
    thing = late.Late("late.half", lambda: importlib.import_module("half_first"))
    for _ in range(late._HALF_IMPORTED):
        assert thing.get() is None
    assert internal_errors["late.half"] == 0
    assert thing.get() is None
    assert internal_errors["late.half"] == 1


def test_what_was_half_there_is_there_the_next_time(half: None, tmp_path: Path) -> None:
    thing = late.Late("late.half", lambda: importlib.import_module("half_first"))
    assert thing.get() is None
    (tmp_path / "half_second.py").write_text("")
    importlib.invalidate_caches()
    made = thing.get()
    assert made is not None
    assert made.ready
    assert thing.get() is made
    assert internal_errors["late.half"] == 0


def test_another_error_is_counted_each_time(half: None) -> None:
    thing = late.Late("late.half", lambda: importlib.import_module("nowhere_at_all"))
    for times in (1, 2):
        assert thing.get() is None
        assert internal_errors["late.half"] == times
