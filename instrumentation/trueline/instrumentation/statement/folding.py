"""Repeated rows and list elements in SQL text, found by comparing text instead of tokens.

Drivers and SQLAlchemy write ``VALUES (?, ?), (?, ?), ...`` with up to thousands of rows, in which only
counters change. Comparing each row with the text that it must have costs a microsecond a row; reading its
tokens would cost one a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_DIGITS: Final = re.compile(r"\d+")
_FORMAT: Final = re.compile(r"%(?:0(\d+))?d")
_SEPARATOR: Final = re.compile(r"\s*,\s*")
#: Longer units are no rows of parameters, and more digits are no counters.
_MAX_UNIT: Final = 20_000
_MAX_DIGITS: Final = 12
#: Rows that are compared at once, which costs a tenth of comparing one by one.
_BLOCK: Final = 32
#: Rows that are compared before the rest is only probed: further ones are counted, their values never read.
_MAX_COMPARED: Final = 256


@dataclass(frozen=True, slots=True)
class Repeats:
    """A unit of text that is repeated ``rows`` times up to ``end``.

    ``counters`` are the digits that change from row to row: (start, end, step), as offsets in the text.
    """

    rows: int
    end: int
    counters: tuple[tuple[int, int, int], ...]

    def counter_in(self, start: int, end: int) -> tuple[int, int, int] | None:
        """Return the counter that lies in a token of the unit."""
        return next((one for one in self.counters if start <= one[0] and one[1] <= end), None)


def find_repeats(text: str, start: int, end: int) -> Repeats | None:
    """Return how often ``text[start:end]`` is repeated after itself, or None where it is not."""
    separator = _SEPARATOR.match(text, end)
    if separator is None or end - start > _MAX_UNIT:
        return None
    unit, between = text[start:end], separator.group()
    runs = list(_DIGITS.finditer(unit))
    if any(run.end() - run.start() > _MAX_DIGITS for run in runs):
        return None
    steps = _steps(text, separator.end(), unit, runs)
    if steps is None:
        return None
    if any(steps):
        rows, position = _counted(text, end, between, _template(unit, runs), steps)
    else:
        rows, position = _same(text, end, between + unit)
    if rows == 1 or not _at_boundary(text, position):
        return None
    return Repeats(
        rows,
        position,
        tuple(
            (start + run.start(), start + run.end(), step)
            for run, step in zip(runs, steps, strict=True)
            if step
        ),
    )


def _same(text: str, position: int, row: str) -> tuple[int, int]:
    """Return the number of rows, the first included, and where they end."""
    rows = 1
    for size in (_BLOCK * _BLOCK, _BLOCK, 1):
        block = row * size if len(row) * size <= len(text) else ""
        while block and text.startswith(block, position):
            rows, position = rows + size, position + len(block)
    return rows, position


def _counted(
    text: str, position: int, between: str, unit: tuple[str, list[int]], steps: list[int]
) -> tuple[int, int]:
    """Return the number of rows, the first included, and where they end; numbers grow from row to row."""
    template, counters = unit
    rows = 1
    for size in (_BLOCK, 1):
        block = (between + template) * size
        while True:
            numbers = tuple(
                number + step * (rows + row)
                for row in range(size)
                for number, step in zip(counters, steps, strict=True)
            )
            expected = block % numbers
            if not text.startswith(expected, position):
                break
            rows, position = rows + size, position + len(expected)
            if rows > _MAX_COMPARED and size == _BLOCK and min(steps) >= 0:
                rows, position = _probed(text, rows, position, between + template, counters, steps)
                break
    return rows, position


def _probed(
    text: str, rows: int, position: int, row: str, counters: list[int], steps: list[int]
) -> tuple[int, int]:
    """Return the number of rows and where they end as :func:`_counted` does, a few rows compared.

    Where a row must begin follows from the digits of the numbers before it. Only the last row of a run is
    looked for, twice as far on each time and then by halves.
    """
    # %05d keeps its width: a wider number grows the row by its further digits
    widths = [int(width or 1) for width in _FORMAT.findall(row.replace("%%", ""))]
    fixed = len(row % tuple([0] * len(counters))) - sum(widths)

    def end_of(count: int) -> int:
        """Where the row with this number ends, if all up to it are alike."""
        digits = sum(
            _digits(number + step * rows, step, count - rows, width)
            for number, step, width in zip(counters, steps, widths, strict=True)
        )
        return position + fixed * (count - rows) + digits

    def is_there(count: int) -> bool:
        numbers = tuple(number + step * (count - 1) for number, step in zip(counters, steps, strict=True))
        return text.startswith(row % numbers, end_of(count - 1))

    good, stride = rows, _BLOCK
    while is_there(good + stride):
        good, stride = good + stride, stride * 2
    while stride:
        if is_there(good + stride):
            good += stride
        stride //= 2
    return good, end_of(good)


def _digits(start: int, step: int, count: int, width: int) -> int:
    """How many digits ``count`` numbers have that begin with ``start`` and grow by ``step``."""
    if not step:
        return count * max(width, len(str(start)))
    total = count * width
    power = 10**width
    while count and start + step * (count - 1) >= power:
        shorter = max(0, -((start - power) // step))  # how many are below
        total += count - min(count, shorter)
        power *= 10
    return total


def _steps(text: str, position: int, unit: str, runs: list[re.Match[str]]) -> list[int] | None:
    """Read the second row along the first: by how much has each number grown?"""
    steps = []
    offset = 0
    for run in runs:
        between = unit[offset : run.start()]
        if not text.startswith(between, position):
            return None
        number = _DIGITS.match(text, position + len(between))
        if number is None or number.end() - number.start() > _MAX_DIGITS:
            return None
        steps.append(int(number.group()) - int(run.group()))
        position, offset = number.end(), run.end()
    return steps if text.startswith(unit[offset:], position) else None


def _template(unit: str, runs: list[re.Match[str]]) -> tuple[str, list[int]]:
    parts = []
    offset = 0
    for run in runs:
        parts.append(unit[offset : run.start()].replace("%", "%%"))
        # a number with leading zeros keeps its width: it is part of a name, not a counter
        parts.append(f"%0{run.end() - run.start()}d" if run.group()[0] == "0" else "%d")
        offset = run.end()
    parts.append(unit[offset:].replace("%", "%%"))
    return "".join(parts), [int(run.group()) for run in runs]


def _at_boundary(text: str, position: int) -> bool:
    return position >= len(text) or text[position] in ") ,;\n\r\t" or text[position - 1] == ")"
