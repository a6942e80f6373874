"""The demo from start to end: build, play, compare, clean up."""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from trueline.monitor.demo.judge import Verdict, judge
from trueline.monitor.demo.monitor import DemoMonitor
from trueline.monitor.demo.processes import Children
from trueline.monitor.demo.report import Report
from trueline.monitor.demo.scenarios import INCIDENTS, TWINS, Incident, Twin
from trueline.monitor.demo.sites import DEPLOYMENTS
from trueline.monitor.demo.stage import Stage
from trueline.monitor.errors import TruelineError

#: Seconds after which an incident counts as not found.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. ``only`` is the id of a rule."""

    as_json: bool = False
    keep_running: bool = False
    data_dir: Path | None = None
    only: str | None = None


def run(options: Options) -> int:
    """Play the demo; return 0 if every expectation was met, else 1. Raise TruelineError for trouble."""
    incidents = [incident for incident in INCIDENTS if options.only in (None, incident.place.rule)]
    twins = [twin for twin in TWINS if options.only in (None, twin.place.rule)]
    if not incidents:
        known = ", ".join(incident.place.rule for incident in INCIDENTS)
        raise TruelineError(f"there is no incident {options.only!r}; --only takes one of: {known}")
    report = Report(as_json=options.as_json)
    with _orderly_end(), _folder(options, report) as folder, Children(folder) as children:
        secret = secrets.token_hex(16)
        monitor = DemoMonitor(folder, children, secret)
        with Stage(folder, children, secret) as stage:
            _build(stage, monitor, [*incidents, *twins], report)
            seconds = _play(stage, monitor, incidents, twins, report)
            children.check()
            verdict = _compare(monitor, incidents, twins, seconds)
            shown = next((result.finding for result in verdict.incidents if result.finding), None)
            report.result(verdict, monitor.finding(shown) if shown else None, monitor.url)
            if options.keep_running:
                _keep(children, monitor, folder, report)
    return 0 if verdict.right else 1


def _build(stage: Stage, monitor: DemoMonitor, scenarios: Sequence[Incident | Twin], report: Report) -> None:
    deployments = list(dict.fromkeys(name for scenario in scenarios for name in scenario.deployments))
    settings = [DEPLOYMENTS[name] for name in deployments]
    databases = set().union(*(deployment.databases for deployment in settings))
    replica = any("replica:" in value for deployment in settings for value in deployment.settings.values())
    report.step("Starting the monitor, PostgreSQL and the expense service ...")
    stage.start_model()
    stage.start_postgres(databases, replica=replica)
    report.step(
        f"PostgreSQL is up with {len(databases)} databases" + (" and a physical replica" if replica else "")
    )
    report.step(f"The monitor is up: {monitor.wait_until_ready()}")
    stage.deploy(deployments, telemetry_to=monitor.url)
    stage.ready(deployments)
    report.step(
        f"{len(deployments)} processes of the expense service are up, and a stand-in for a model provider"
    )


def _play(
    stage: Stage, monitor: DemoMonitor, incidents: Sequence[Incident], twins: Sequence[Twin], report: Report
) -> dict[str, float]:
    """Play everything; seconds to the finding by incident."""
    for twin in twins:
        twin.play(stage)
    report.step(f"Healthy traffic played, with {len(twins)} situations that look like incidents and are none")
    _wait_for_judgement(monitor, twins)
    report.step(f"Their rules have judged it: {len(monitor.findings())} findings")
    seconds: dict[str, float] = {}
    for incident in incidents:
        report.step(f"{incident.story} ...")
        incident.play(stage)
        answered = time.monotonic()
        if monitor.wait_for(incident.place, PATIENCE_SECONDS):
            seconds[incident.place.rule] = round(time.monotonic() - answered, 1)
            report.step(f"  found: {incident.place.rule}, after {seconds[incident.place.rule]} s")
        else:
            report.step(f"  not found within {PATIENCE_SECONDS:.0f} s")
    _wait_for_judgement(monitor, incidents)
    return seconds


def _wait_for_judgement(monitor: DemoMonitor, scenarios: Sequence[Incident | Twin]) -> None:
    """Wait until what was played just now has arrived and been judged: before, silence means nothing."""
    played = datetime.now(UTC)
    deployed = [DEPLOYMENTS[name] for scenario in scenarios for name in scenario.deployments]
    monitor.wait_until_seen({(one.environment, one.application, one.service) for one in deployed})
    # Other rules give a retry more time, or wait for jobs that follow: what they say by the end is shown too.
    monitor.wait_until_judged(played, {scenario.place.rule for scenario in scenarios})


def _compare(
    monitor: DemoMonitor, incidents: Sequence[Incident], twins: Sequence[Twin], seconds: dict[str, float]
) -> Verdict:
    return judge(
        [(incident.place, incident.title, seconds.get(incident.place.rule)) for incident in incidents],
        [(twin.place, twin.title, twin.why) for twin in twins],
        monitor.findings(),
        monitor.together(),
    )


def _keep(children: Children, monitor: DemoMonitor, folder: Path, report: Report) -> None:
    report.step(f"Everything goes on running in {folder}; Ctrl-C ends it. Look around in another terminal:")
    report.step(f"  TRUELINE_URL={monitor.url} trueline findings")
    try:
        while True:
            children.check()
            time.sleep(1)
    except KeyboardInterrupt:
        pass  # that is how it is meant to end


@contextmanager
def _folder(options: Options, report: Report) -> Iterator[Path]:
    """Where databases and logs are. A temporary one is removed, unless it shows what broke."""
    if options.data_dir is not None:
        folder = options.data_dir.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise TruelineError(f"{folder} is not empty: name a new folder with --data-dir")
    else:
        folder = Path(tempfile.mkdtemp(prefix="trueline-demo-"))
    keep = options.keep_running or options.data_dir is not None
    try:
        yield folder
    except TruelineError:
        keep = True
        report.step(f"Logs and data are kept in {folder}")
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM and Ctrl-C unwind, so that all that was started is ended; a second one changes nothing."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell starts what is to survive Ctrl-C that way
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
