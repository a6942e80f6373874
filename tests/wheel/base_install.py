"""Run in an environment that has only the base install: what a service gets, and what it does not.

Not a pytest module: this environment has no pytest. Exits non-zero with a sentence on a failure.
"""

import subprocess
import sys
from importlib.resources import files

import trueline.instrumentation
from trueline.instrumentation import bind_identity, instrument

heavy = {
    "fastapi",
    "chdb",
    "clickhouse_connect",
    "typer",
    "rich",
    "uvicorn",
    "trueline.monitor",
} & sys.modules.keys()
assert not heavy, f"importing the instrumentation loaded {heavy}"

instrument("base-install", logs=False, endpoint="http://127.0.0.1:9")

from sqlalchemy import create_engine, text  # noqa: E402

engine = create_engine("sqlite://")
with bind_identity("12345"), engine.begin() as connection:
    connection.execute(text("CREATE TABLE expenses (user_id TEXT)"))
    connection.execute(text("INSERT INTO expenses VALUES (:user_id)"), {"user_id": "12345"})
status = trueline.instrumentation.setup.status()
assert status["instrumented"] and not status["internal_errors"], status

from trueline.instrumentation.testing import recorded  # noqa: E402 - there is no pytest here

with recorded() as telemetry, engine.begin() as connection:
    connection.execute(text("INSERT INTO expenses (user_id) VALUES (:user_id)"), {"user_id": "12345"})
telemetry.assert_committed("expenses", identity="12345", times=1)
heavy = {"fastapi", "chdb", "clickhouse_connect"} & sys.modules.keys()
assert not heavy, f"using the instrumentation loaded {heavy}"

monitor = files("trueline").joinpath("monitor")
bundled = {entry.name for entry in monitor.joinpath("_bundled", "rules").iterdir()}
assert "env_split.yaml" in bundled, f"the wheel's rules are {bundled}"
assert any(monitor.joinpath("_bundled", "dashboards").iterdir()), "the wheel has no dashboards"

command = [sys.executable, "-m", "trueline.monitor.main", "serve"]
result = subprocess.run(command, capture_output=True, text=True, timeout=60)
assert result.returncode == 2, f"`trueline serve` without its extra ended with {result.returncode}"
assert "trueline[monitor]" in result.stderr and "Traceback" not in result.stderr, result.stderr

print("base install: instruments, loads nothing of the monitor, carries the rules, says what is missing")
