"""Walks through the demo's incidents as somebody on call: finding, timeline, diagnosis, by the command line.

Each walk is what a terminal shows; `python tests/support/walks.py [NAME ...]` plays them and writes
docs/examples/walk_*.txt, so that what the documentation shows is what the product prints.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trueline.monitor.demo import plays
from trueline.monitor.demo.judge import Place
from trueline.monitor.demo.monitor import DemoMonitor
from trueline.monitor.demo.processes import Children
from trueline.monitor.demo.sites import DEPLOYMENTS
from trueline.monitor.demo.stage import Stage

SECRET = "a secret for the walk"
EXAMPLES = Path(__file__).parents[2] / "docs/examples"
PATIENCE = 240.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One incident, or a twin where ``rule`` is empty, and what the diagnosis must say."""

    name: str
    rule: str
    city: str
    deployments: tuple[str, ...]
    play: Callable[[Stage], None]
    verdict: str
    who: int = 0
    arguments: tuple[str, ...] = ()
    complaint: str = ""


SCENES = (
    Scene("env_split", "env_split", "lisbon", ("lisbon/web", "lisbon/worker"), plays.env_split, "environment",
          complaint="a user says: my summary is empty"),
    Scene("key_mismatch", "key_mismatch", "oslo", ("oslo/web", "oslo/worker"), plays.key_mismatch, "keys",
          complaint="a user says: my summary is empty"),
    Scene("rollback_after_ai_error", "rollback_after_ai_error", "vienna", ("vienna/web",),
          plays.rollback_after_ai_error, "commit", who=1, complaint="a user says: my expense is gone"),
    Scene("constraint_violation_burst", "constraint_violation_burst", "dublin", ("dublin/worker",),
          plays.constraint_violation_burst, "commit", arguments=("R-2041", "--domain", "receipt", "--plain"),
          complaint="a merchant says: receipt R-2041 is missing"),
    Scene("replica", "", "zurich", ("zurich/web", "zurich/worker"), plays.replica, "healthy"),
    Scene("shards", "", "madrid", ("madrid/web",), plays.shards, "healthy"),
    Scene("digits", "", "zurich", ("zurich/web", "zurich/worker"), plays.digits, "healthy"),
    Scene("both_columns", "", "zurich", ("zurich/web",), plays.both_columns, "healthy"),
    Scene("either_key", "", "madrid", ("madrid/web",), plays.either_key, "healthy"),
    Scene("fails_after_commit", "", "zurich", ("zurich/web",), plays.fails_after_commit, "healthy"),
    Scene("commits_anyway", "", "madrid", ("madrid/web",), plays.commits_anyway, "healthy"),
    Scene("retry_lands", "", "athens", ("athens/web",), plays.retry_lands, "healthy"),
    Scene("delivered_twice", "", "zurich", ("zurich/web",), plays.delivered_twice, "healthy"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Walk:
    """One scene as it was walked through. ``text`` is the terminal's."""

    scene: Scene
    verdict: str
    status: int
    text: str


def walk(scenes: Sequence[Scene]) -> Iterator[Walk]:
    """Play the scenes with real processes and walk through each."""
    with tempfile.TemporaryDirectory(prefix="trueline-walk-") as name, Children(Path(name)) as children:
        monitor = DemoMonitor(Path(name), children, SECRET)
        with Stage(Path(name), children, SECRET) as stage:
            deployments = list(dict.fromkeys(one for scene in scenes for one in scene.deployments))
            databases = set().union(*(DEPLOYMENTS[one].databases for one in deployments))
            replica = any(
                "replica:" in url for one in deployments for url in DEPLOYMENTS[one].settings.values()
            )
            stage.start_model()
            stage.start_postgres(databases, replica=replica)
            monitor.wait_until_ready()
            stage.deploy(deployments, telemetry_to=monitor.url)
            stage.ready(deployments)
            users: dict[str, list[str]] = {}
            for scene in scenes:
                users[scene.name] = _play(stage, scene)
            for scene in scenes:
                if scene.rule:
                    place = Place(scene.rule, f"expenses-{scene.city}", "production", None)
                    assert monitor.wait_for(place, PATIENCE), f"{scene.rule} was not found"
            # Evidence is completed once more after a finding opened; spans are held up to a second.
            time.sleep(5)
            for scene in scenes:
                yield _walk(scene, monitor.url, users[scene.name])


def _play(stage: Stage, scene: Scene) -> list[str]:
    users: list[str] = []
    made = stage.user

    def user() -> str:
        users.append(made())
        return users[-1]

    stage.user = user  # type: ignore[method-assign]
    try:
        scene.play(stage)
    finally:
        stage.user = made  # type: ignore[method-assign]
    return users


def _walk(scene: Scene, url: str, users: Sequence[str]) -> Walk:
    terminal = Terminal(url)
    if scene.rule:
        listed = json.loads(terminal.run("findings", "--rule", scene.rule, "--json", quietly=True)[1])
        (finding,) = (one for one in listed["items"] if one["application"].endswith(scene.city))
        terminal.say(f"# At 03:12 the pager shows: {finding['rule']}: {finding['summary']}")
        terminal.say(f"# Its link ends in the finding's id, {finding['id']}. What happened?")
        terminal.run("timeline", finding["id"], "--limit", "24")
        terminal.say(f"# And {scene.complaint}. Which is it?")
    whom = scene.arguments or (users[scene.who],)
    status, _ = terminal.run("diagnose", *whom)
    verdict = json.loads(terminal.run("diagnose", *whom, "--json", quietly=True)[1])["verdict"]
    return Walk(scene, verdict, status, terminal.text)


class Terminal:
    """Runs commands of ``trueline`` against a monitor and keeps what it showed."""

    def __init__(self, url: str) -> None:
        self.text = ""
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("TRUELINE_", "OTEL_"))},
            "TRUELINE_URL": url,
            "TRUELINE_HASH_SECRET": SECRET,
            "PYTHONIOENCODING": "utf-8",
        }

    def say(self, line: str) -> None:
        """A remark."""
        self.text += f"{line}\n\n"

    def run(self, *arguments: str, quietly: bool = False) -> tuple[int, str]:
        """Exit status and output of one command."""
        done = subprocess.run(
            [sys.executable, "-m", "trueline.monitor.main", *arguments],
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode != 2, done.stderr
        if not quietly:
            shown = "\n".join(line.rstrip() for line in done.stdout.splitlines())
            self.text += f"$ trueline {' '.join(arguments)}\n{shown}\n[exit status {done.returncode}]\n\n"
        return done.returncode, done.stdout


def write(walks: Sequence[Walk]) -> None:
    """Write the incidents' walks into the examples."""
    for one in walks:
        if one.scene.rule:
            text = re.sub(r"\n{3,}", "\n\n", one.text).strip()
            (EXAMPLES / f"walk_{one.scene.name}.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    found = list(walk([one for one in SCENES if one.name in sys.argv[1:] or not sys.argv[1:]]))
    for each in found:
        wrong = "" if each.verdict == each.scene.verdict else f", expected {each.scene.verdict}"
        print(f"{each.scene.name}: {each.verdict}{wrong}")
    write(found)
    sys.exit(any(each.verdict != each.scene.verdict for each in found))
