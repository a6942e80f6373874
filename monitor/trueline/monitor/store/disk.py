"""How full the disk under the store is, and whether rows may still be taken.

A ClickHouse that runs out of space in the middle of a merge or an insert is a worse place to be than a
monitor that refuses telemetry for a while: services keep and retry what was refused. So intake stops while
there is still room for merges, and starts again only when clearly more is free (hysteresis: a merge that
frees a little must not make it flap)::

    watermark = DiskWatermark(lambda: measure_folder(data_dir), stop=parse_level("2GiB"))
    if (reason := watermark.refusal()) is not None:
        ...  # 503 with the reason; the same sentence for /readyz
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trueline.monitor.errors import SettingsError

if TYPE_CHECKING:
    from trueline.monitor.store.client import Store

_AMOUNT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|[kmgt]?i?b?)\s*", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: How long one measurement is believed, seconds: long enough to cost nothing, short against filling a disk.
FRESH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Room on the disk of ``where``, in bytes. ``free`` is what an unprivileged process may still use."""

    where: str
    total: int
    free: int

    @property
    def free_percent(self) -> float:
        """Free share of the whole, 0 to 100."""
        return 100.0 * self.free / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Level:
    """An amount of free space: so many bytes, and so many per cent of the disk. 0 asks for nothing."""

    free_bytes: int = 0
    free_percent: float = 0.0

    def is_met(self, space: DiskSpace) -> bool:
        """Whether at least this much is free."""
        return space.free >= self.free_bytes and space.free_percent >= self.free_percent


#: Intake stops below this. Bytes, not per cent: 5 % of a 20 TB disk is a terabyte that nobody should lose.
STOP: Final = Level(free_bytes=1 << 30)
#: Intake starts again from this on.
RESUME: Final = Level(free_bytes=3 << 29)


def parse_level(text: str) -> Level:
    """Read ``"2GiB"``, ``"500 MB"`` (binary units both), ``"5%"`` or ``"0"`` (never). Raise SettingsError."""
    match = _AMOUNT.fullmatch(text)
    if match is None or (match[2] == "%" and float(match[1]) >= 100):
        raise SettingsError(f"{text!r} is not an amount of free disk: write 2GiB, 500MiB or 5%; 0 for none.")
    if match[2] == "%":
        return Level(free_percent=float(match[1]))
    return Level(free_bytes=int(float(match[1]) * _UNITS[match[2].lower().rstrip("ib")]))


def resume_level(stop: Level) -> Level:
    """Half as much again as ``stop``: what must be free before intake starts again."""
    return Level(stop.free_bytes * 3 // 2, min(99.0, stop.free_percent * 1.5))


def measure_folder(folder: Path) -> DiskSpace:
    """Measure the file system that holds a folder. Raise OSError if it is gone."""
    status = os.statvfs(folder)
    return DiskSpace(str(folder), status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def measure_server(store: Store) -> DiskSpace:
    """Measure the fullest disk that the server knows, as it tells (an object store has no limit).

    ``keep_free_space`` of its configuration counts as used. Raise StoreError if it cannot be asked. Where
    there is no such disk the answer is 0 of 0 bytes, which :class:`DiskWatermark` takes for unknown.
    """
    rows = store.query(
        "SELECT name, total_space, unreserved_space FROM system.disks"
        " WHERE NOT is_remote AND total_space > 0 ORDER BY unreserved_space / total_space LIMIT 1"
    ).rows
    if not rows:
        return DiskSpace(store.description, 0, 0)
    name, total, free = rows[0]
    return DiskSpace(f"{store.description} (disk {name})", int(total), int(free))


class DiskWatermark:
    """Remembers whether intake is stopped. Safe to ask from any thread, as often as requests come."""

    def __init__(
        self,
        measure: Callable[[], DiskSpace],
        *,
        stop: Level = STOP,
        resume: Level | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._stop = stop
        self._resume = resume or resume_level(stop)
        self._clock = clock
        self._guard = threading.Lock()
        self._measured_at = float("-inf")
        self._space = DiskSpace("", 0, 0)
        self._refusal: str | None = None

    @property
    def space(self) -> DiskSpace:
        """The last measurement; 0 of 0 bytes where none succeeded. For metrics."""
        return self._space

    def refusal(self) -> str | None:
        """Why no rows may be taken now, one sentence; None while they may."""
        with self._guard:
            now = self._clock()
            if now - self._measured_at >= FRESH_SECONDS:
                self._measured_at = now
                self._judge()
            return self._refusal

    def _judge(self) -> None:
        try:
            space = self._measure()
        except OSError as error:
            # A folder that has vanished is said by every insert; here it means only: not known.
            self._space = DiskSpace(f"unknown: {error.strerror}", 0, 0)
            self._refusal = None
            return
        except Exception:
            # A server that does not answer: what was known of its disk stays, inserts say the rest.
            return
        self._space = space
        if not space.total:
            self._refusal = None
            return
        needed = self._resume if self._refusal else self._stop
        if needed.is_met(space):
            self._refusal = None
        else:
            self._refusal = (
                f"The disk of {space.where} is almost full ({_human(space.free)} of "
                f"{_human(space.total)} free): free some, or shorten the retention. Telemetry is taken again "
                f"from {self._wanted(space)} on."
            )

    def _wanted(self, space: DiskSpace) -> str:
        return _human(max(self._resume.free_bytes, int(space.total * self._resume.free_percent / 100)))


def _human(size: float) -> str:
    """``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
