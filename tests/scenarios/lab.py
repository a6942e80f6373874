"""The lab: plays scenarios against one running monitor, or replays what they sent, and judges it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scenarios.catalogue import experimental, rules
from scenarios.databases import Postgres, SqliteFiles
from scenarios.forwarder import Forwarder
from scenarios.judge import Result, judge
from scenarios.monitor import Monitor
from scenarios.otlp import PROTOBUF, Recording, together
from scenarios.processes import Starter, Trouble
from scenarios.scenario import Scenario, Whom
from scenarios.stage import House, Stage
from support.model_server import model_server

#: Seconds after which an incident counts as not found.
PATIENCE = 60.0
#: Seconds that telemetry may be on its way: held for its transaction's outcome, queued, exported.
ARRIVAL = 3.0
#: Seconds that rules may take to have judged what has arrived.
JUDGEMENT = 90.0
#: Scenarios that are played at a time: most of their time is waiting.
TOGETHER = 4
RECORDED = Path(__file__).with_name("recorded")
#: Rules that compare some of the identities of a busy moment, each time others. What is replayed is a single
#: moment of hundreds of applications, which comes only once.
SAMPLING = ("env_split", "key_mismatch", "identity_encoding_drift", "dual_writer", "stale_summary")


@dataclass(frozen=True, slots=True)
class Played:
    """What is known when a scenario has been played; ``at`` is time.monotonic, ``whom`` who is affected."""

    scenario: Scenario
    at: float
    whom: Whom | None
    trouble: str = ""


#: Whose findings belong to no scenario: all of them are false.
NOBODY = Scenario(
    "nobody/strays", "nobody", "Findings of no scenario.", "", "", (), (), None, None, lambda _: None
)

#: Told as a run goes on: a scenario's name, and what has become of it.
Progress = Callable[[str, str], None]


def run(
    scenarios: Sequence[Scenario],
    progress: Progress,
    *,
    replayed: Sequence[Scenario] = (),
    record: bool = False,
    keep: bool = False,
    patience: float = PATIENCE,
) -> list[Result]:
    """Play scenarios with real processes, send what ``replayed`` ones sent when recorded, and judge.

    With ``record``, what those sent whose result is right is written to ``recorded/``. With ``keep``, the
    folder with databases and logs stays.
    """
    with _folder(keep=keep) as folder, ExitStack() as stack:
        progress("", "starting the monitor")
        chosen = [*scenarios, *replayed]
        declared = [one.declarations for one in chosen if one.declares]
        unsampled = SAMPLING if replayed else ()
        monitor = stack.enter_context(Monitor(folder, experimental(chosen), declared, unsampled))
        forwarder = stack.enter_context(Forwarder(monitor.url))
        played = _replay(monitor, replayed)
        if scenarios:
            played += _play(monitor, forwarder, folder, scenarios, progress, record=record, patience=patience)
        for one in played[: len(replayed)]:
            _wait(monitor, one, progress, patience)
        results = _judge_all(monitor, played, progress)
        if record:
            _keep(results, played, forwarder)
        return results


def _play(
    monitor: Monitor,
    forwarder: Forwarder,
    folder: Path,
    scenarios: Sequence[Scenario],
    progress: Progress,
    *,
    record: bool,
    patience: float,
) -> list[Played]:
    """With real processes; each scenario's are there until its findings are."""

    def endpoint(scenario: Scenario, days_ago: float) -> str:
        if record or days_ago:
            return forwarder.endpoint(scenario.application, days_ago * 86400)
        return monitor.url

    with ExitStack() as stack:
        postgres = Postgres(folder / "postgres")
        stack.callback(postgres.stop)
        model = stack.enter_context(model_server())
        starter = stack.enter_context(Starter())
        house = House(folder, starter, postgres, SqliteFiles(folder), model.url, endpoint)

        def play(scenario: Scenario) -> Played:
            progress(scenario.name, "playing")
            with Stage(scenario, house) as stage:
                try:
                    whom = scenario.play(stage)
                except Trouble as trouble:
                    progress(scenario.name, "trouble")
                    return Played(scenario, time.monotonic(), None, str(trouble))
                played = Played(scenario, time.monotonic(), Whom(whom) if isinstance(whom, str) else whom)
                _wait(monitor, played, progress, patience)
            return played

        with ThreadPoolExecutor(TOGETHER) as pool:
            return list(pool.map(play, scenarios))


def _replay(monitor: Monitor, scenarios: Sequence[Scenario]) -> list[Played]:
    """Send what was recorded, with its times moved to now, in one request instead of hundreds."""
    recordings = [Recording.read(recording_of(one)) for one in scenarios]
    now = time.time_ns()
    for sent in together(one for each in recordings for one in each.until(now)):
        monitor.send(sent.path, sent.body, PROTOBUF)
    at = time.monotonic()
    whom = [Whom(**each.facts["whom"]) if each.facts["whom"] else None for each in recordings]
    return [Played(scenario, at, who) for scenario, who in zip(scenarios, whom, strict=True)]


def recording_of(scenario: Scenario) -> Path:
    """Where its recording is, if it has one."""
    return RECORDED / f"{scenario.application}.otlp.xz"


def _wait(monitor: Monitor, played: Played, progress: Progress, patience: float) -> None:
    """Wait for an incident's findings. A twin's silence is waited for once, at the end of all."""
    if played.scenario.expected:
        progress(played.scenario.name, "waiting")
        rules = {expected.rule for expected in played.scenario.expected}
        found = monitor.wait_for(played.scenario.application, rules, played.at + patience - time.monotonic())
        progress(played.scenario.name, "found" if found else "missed")
    else:
        progress(played.scenario.name, "played")


def _judge_all(monitor: Monitor, played: Sequence[Played], progress: Progress) -> list[Result]:
    progress("", "waiting until every rule has judged everything")
    behind = monitor.wait_until_judged(datetime.now(UTC) + timedelta(seconds=ARRIVAL), JUDGEMENT)
    monitor.check()
    findings = monitor.findings()
    homes = {one.scenario.application: one for one in played}
    # Ids of findings to the rules of their incident, the likely cause first.
    incidents = monitor.incidents()
    on_trial = {rule for rule, status in rules().items() if status == "experimental"}
    results: list[Result] = []
    for one in played:
        application = one.scenario.application
        told = {expected.rule for expected in one.scenario.expected if expected.tells}
        mine = [
            monitor.in_full(finding["id"]) if finding["rule"] in told else finding
            for finding in findings
            if _belongs(finding, application)
        ]
        ids = {finding["id"] for finding in mine}
        verdict, sentence = None, ""
        if one.whom is not None and one.scenario.verdict is not None and not one.trouble:
            verdict, sentence = monitor.diagnose(one.whom, application)
        result = judge(
            one.scenario,
            mine,
            monitor.seen,
            one.at,
            verdict=verdict,
            on_trial=on_trial,
            incidents=[incident["rules"] for incident in incidents if ids & set(incident["findings"])],
        )
        notes = tuple(f"{rule} had not judged everything" for rule in behind)
        if not result.verdict_is_right:
            notes = (f"diagnosis: {sentence}", *notes)
        results.append(replace(result, trouble=one.trouble, notes=result.notes + notes))
        progress(one.scenario.name, "right" if results[-1].right else "wrong")
    strays = [one for one in findings if not any(_belongs(one, application) for application in homes)]
    if strays:
        results.append(judge(NOBODY, strays, monitor.seen, 0.0, verdict=None))
    return results


def _belongs(finding: dict[str, object], application: str) -> bool:
    environment = str(finding["environment"])
    return finding["application"] == application or environment.partition(".")[0] == application


def _keep(results: Sequence[Result], played: Sequence[Played], forwarder: Forwarder) -> None:
    RECORDED.mkdir(exist_ok=True)
    for result, one in zip(results, played, strict=True):
        if result.right:
            whom = one.whom
            facts = {"scenario": one.scenario.name, "whom": whom and asdict(whom)}
            Recording(facts, tuple(forwarder.sent[one.scenario.application])).write(
                recording_of(one.scenario)
            )


@contextmanager
def _folder(*, keep: bool = False) -> Iterator[Path]:
    """A folder for databases and logs; removed unless it is to be kept, or the run itself breaks."""
    folder = Path(tempfile.mkdtemp(prefix="trueline-lab-"))
    folder.chmod(0o755)
    try:
        yield folder
    except BaseException:
        print(f"logs and data are kept in {folder}")
        raise
    if keep:
        print(f"logs and data are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
