"""Intake stops before the disk is full and starts again when there is room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trueline.monitor.errors import SettingsError, StoreUnavailableError
from trueline.monitor.store.client import Store
from trueline.monitor.store.disk import (
    DiskSpace,
    DiskWatermark,
    Level,
    measure_folder,
    measure_server,
    parse_level,
    resume_level,
)

MIB = 1 << 20


class Disk:
    """A disk whose free space the test sets, and a clock."""

    def __init__(self, free: int, total: int = 1000) -> None:
        self.free, self.total, self.now, self.asked = free * MIB, total * MIB, 0.0, 0
        self.error: Exception | None = None

    def measure(self) -> DiskSpace:
        self.asked += 1
        if self.error:
            raise self.error
        return DiskSpace("/data", self.total, self.free)

    def watermark(self, stop: Level, resume: Level | None = None) -> DiskWatermark:
        return DiskWatermark(self.measure, stop=stop, resume=resume, clock=lambda: self.now)

    def set(self, free: int) -> None:
        self.free = free * MIB
        self.now += 2


def test_it_stops_below_one_level_and_starts_at_a_higher_one() -> None:
    disk = Disk(free=101)
    watermark = disk.watermark(Level(100 * MIB), Level(150 * MIB))
    assert watermark.refusal() is None
    disk.set(99)
    reason = watermark.refusal()
    assert reason is not None
    assert "/data is almost full (99.0 MiB of 1000.0 MiB free)" in reason
    assert "from 150.0 MiB on" in reason
    disk.set(149)
    assert watermark.refusal() is not None
    disk.set(150)
    assert watermark.refusal() is None
    disk.set(101)
    assert watermark.refusal() is None


def test_per_cent_of_the_disk_count_too() -> None:
    disk = Disk(free=51, total=1000)
    watermark = disk.watermark(Level(free_percent=5))
    assert watermark.refusal() is None
    disk.set(49)
    reason = watermark.refusal()
    assert reason is not None
    assert "from 75.0 MiB on" in reason
    assert watermark.space.free_percent == pytest.approx(4.9)


def test_a_measurement_serves_all_requests_of_a_second() -> None:
    disk = Disk(free=500)
    watermark = disk.watermark(Level(100 * MIB))
    for _ in range(1000):
        assert watermark.refusal() is None
    assert disk.asked == 1
    disk.now += 1
    watermark.refusal()
    assert disk.asked == 2


def test_what_cannot_be_measured_stops_nothing_but_does_not_start_either() -> None:
    disk = Disk(free=99)
    watermark = disk.watermark(Level(100 * MIB))
    assert watermark.refusal() is not None
    disk.error = StoreUnavailableError("no answer")
    disk.now += 2
    assert watermark.refusal() is not None
    disk.error = OSError(2, "No such file or directory")
    disk.now += 2
    assert watermark.refusal() is None
    assert watermark.space.total == 0


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("0", Level()),
        ("1024", Level(1024)),
        ("2GiB", Level(2 << 30)),
        ("1.5 gb", Level(3 << 29)),
        ("500m", Level(500 * MIB)),
        ("5%", Level(free_percent=5)),
    ],
)
def test_levels_as_people_write_them(text: str, level: Level) -> None:
    assert parse_level(text) == level


@pytest.mark.parametrize("text", ["", "much", "-1", "100%", "5 parsec", "1e9"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not an amount of free disk: write 2GiB"):
        parse_level(text)


def test_the_level_to_start_again_is_higher() -> None:
    assert resume_level(Level(2 * MIB, 10)) == Level(3 * MIB, 15)
    assert resume_level(Level(0, 90)).free_percent == 99


def test_a_real_folder(tmp_path: Path) -> None:
    space = measure_folder(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    assert space.total == usage.total
    assert abs(space.free - usage.free) < space.total / 10
    assert DiskWatermark(lambda: measure_folder(tmp_path), stop=Level(usage.total + 1)).refusal() is not None
    with pytest.raises(FileNotFoundError):
        measure_folder(tmp_path / "gone")


def test_the_engine_tells_its_own_disk(empty_store: Store, tmp_path: Path) -> None:
    space = measure_server(empty_store)
    assert space.total == shutil.disk_usage(tmp_path).total
    assert 0 < space.free <= space.total
    assert "disk default" in space.where
