"""From findings in a real store to a real receiver: at least once, never twice without change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import Bench, empty_tables, schema_store, write_rule
from support.receiver import Receiver

from trueline.monitor.engine.finding import Cause, resolve
from trueline.monitor.engine.rule import Rule
from trueline.monitor.notify.deliver import Delivery
from trueline.monitor.notify.notifier import Notifier
from trueline.monitor.settings import load_settings
from trueline.monitor.store.client import Store


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_notify") as store:
        yield store


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Rule:
    return write_rule(tmp_path_factory.mktemp("rules"))


@pytest.fixture
def bench(shared_store: Store, rule: Rule) -> Bench:
    """One open finding."""
    empty_tables(shared_store)
    bench = Bench(shared_store, rule)
    lose(bench)
    return bench


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def lose(bench: Bench, service: str = "web") -> None:
    bench.lose(service=service, trace_id="aa" * 16)
    bench.clock.forward(minutes=5)
    bench.tick()


def mend(bench: Bench) -> None:
    for finding in bench.findings.active():
        mended, events = resolve(finding, "ann", "", datetime.now(UTC), Cause.PERSON)
        bench.findings.save([mended], events)


class Clock:
    """Hands the deliveries their time, so that nothing has to be waited for."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def step(self, delivery: Delivery, **later: float) -> None:
        self.now += timedelta(**later)
        delivery.step(self.now)


def targets(folder: Path, receiver: Receiver, kind: str = "webhook", **more: Any) -> Path:
    path = folder / "notify.yaml"
    given = {"timeout_seconds": 60, **more}
    extra = "".join(f", {name}: {value}" for name, value in given.items())
    path.write_text(
        f"targets: [{{name: oncall, type: {kind}, urls: ['{receiver.url}/x'], allow_private: true{extra}}}]"
    )
    return path


def start(bench: Bench, path: Path) -> Delivery:
    """A new process: nothing but the store is left of the one before."""
    settings = load_settings({"notify": path, "external_url": "https://trueline.example.com"})
    (delivery,) = Notifier(bench.store, bench.findings, settings).deliveries
    return delivery


def told(receiver: Receiver) -> list[tuple[str, list[str]]]:
    return [
        (message["status"], sorted(alert["labels"]["service"] for alert in message["alerts"]))
        for message in receiver.received
    ]


def test_a_webhook_is_told_of_changes_only(bench: Bench, receiver: Receiver, tmp_path: Path) -> None:
    delivery, clock = start(bench, targets(tmp_path, receiver)), Clock()
    for _ in range(3):
        clock.step(delivery, seconds=20)
    lose(bench)
    clock.step(delivery, seconds=20)
    assert told(receiver) == [("firing", ["web"])]
    delivery = start(bench, targets(tmp_path, receiver))
    clock.step(delivery, seconds=20)
    assert len(receiver.received) == 1, "a restart is no news"
    lose(bench, "worker")
    clock.step(delivery, seconds=20)
    mend(bench)
    clock.step(delivery, seconds=20)
    clock.step(delivery, minutes=20)
    assert told(receiver)[1:] == [("firing", ["web", "worker"]), ("resolved", ["web", "worker"])]
    assert receiver.received[0]["alerts"][0]["generatorURL"].startswith(
        "https://trueline.example.com/api/v1/"
    )


@pytest.mark.parametrize(("mode", "seconds"), [("fail", 60), ("hang", 1)])
def test_what_could_not_be_delivered_is_delivered_later_even_by_another_process(
    bench: Bench, receiver: Receiver, tmp_path: Path, mode: str, seconds: int
) -> None:
    receiver.mode = mode
    path = targets(tmp_path, receiver, timeout_seconds=seconds)
    delivery, clock = start(bench, path), Clock()
    clock.step(delivery, seconds=20)
    assert delivery.health.failures == 1
    clock.step(delivery, seconds=0.1)
    assert delivery.health.failures == 1, "it waits before the next attempt"
    for _ in range(3):
        clock.step(delivery, minutes=5)
    assert delivery.health.failures == 4
    mend(bench)
    receiver.mode = "ok"
    receiver.received.clear()
    clock.step(start(bench, targets(tmp_path, receiver)), seconds=1)
    assert told(receiver) == [("resolved", ["web"])], "it may have been told that it began"


def test_a_process_that_dies_between_sending_and_remembering_sends_again(
    bench: Bench, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery, clock = start(bench, targets(tmp_path, receiver)), Clock()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "_remember", die)
    with pytest.raises(KeyboardInterrupt):
        clock.step(delivery, seconds=20)
    again = start(bench, targets(tmp_path, receiver))
    for _ in range(3):
        clock.step(again, seconds=20)
    assert told(receiver) == [("firing", ["web"])] * 2, "at least once"


def test_what_a_receiver_refuses_is_not_sent_again_until_it_changes(
    bench: Bench, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.mode = "refuse"
    delivery, clock = start(bench, targets(tmp_path, receiver)), Clock()
    for _ in range(3):
        clock.step(delivery, minutes=1)
    assert len(receiver.received) == 1
    receiver.mode = "ok"
    lose(bench, "worker")
    clock.step(delivery, minutes=1)
    assert told(receiver)[1:] == [("firing", ["web", "worker"])]


def test_alertmanager_is_told_again_each_minute(bench: Bench, receiver: Receiver, tmp_path: Path) -> None:
    delivery, clock = start(bench, targets(tmp_path, receiver, "alertmanager")), Clock()
    for seconds in (20, 20, 61, 61):
        clock.step(delivery, seconds=seconds)
    assert len(receiver.received) == 3
    assert {one["path"] for one in receiver.headers} == {"/x/api/v2/alerts"}
    ends = [datetime.fromisoformat(message[0]["endsAt"]) for message in receiver.received]
    assert ends == sorted(ends)
    assert ends[-1] > clock.now + timedelta(minutes=3), "longer than until the next message"
    mend(bench)
    clock.step(delivery, seconds=5)
    (last,) = receiver.received[-1]
    assert datetime.fromisoformat(last["endsAt"]) <= clock.now
    delivery = start(bench, targets(tmp_path, receiver, "alertmanager"))
    for _ in range(20):
        clock.step(delivery, seconds=61)
    assert 14 <= len(receiver.received) - 4 <= 16, "for a quarter of an hour, over a restart"


def test_a_dead_target_stops_neither_the_others_nor_the_end(
    bench: Bench, receiver: Receiver, tmp_path: Path
) -> None:
    with Receiver() as dead:
        dead.mode = "hang"
        path = tmp_path / "notify.yaml"
        path.write_text(
            "targets:\n"
            f"- {{name: dead, type: webhook, urls: ['{dead.url}'], allow_private: true}}\n"
            f"- {{name: well, type: webhook, urls: ['{receiver.url}'], allow_private: true}}\n"
        )
        notifier = Notifier(bench.store, bench.findings, load_settings({"notify": path}))
        notifier.start()
        try:
            dead.wait(1)
            receiver.wait(1)
            lose(bench, "worker")
            receiver.wait(2)
        finally:
            dead.ending.set()
            notifier.stop(30)


def test_nothing_is_sent_and_no_thread_started_without_a_file(bench: Bench) -> None:
    assert Notifier(bench.store, bench.findings, load_settings({})).deliveries == []


def test_the_interface_tells_how_it_goes_and_what_a_test_sent(
    bench: Bench, rule: Rule, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCALL_TOKEN", "s3cret")
    path = targets(tmp_path, receiver, token_env="ONCALL_TOKEN")
    api = ApiClient(bench.store, rule.path.parent, notify=path)
    (item,) = api.get("/api/v1/notify").json()["items"]
    assert (item["name"], item["last"], item["urls"]) == ("oncall", None, [f"{receiver.url}/..."])
    assert "TRUELINE_EXTERNAL_URL" in api.get("/api/v1/notify").json()["problems"][0]
    try_it = partial(api.post, "/api/v1/notify/test")
    trial = try_it(json={"target": "oncall"})
    assert trial.json()["ok"]
    assert trial.json()["sent"] == receiver.received[0]
    assert receiver.received[0]["status"] == "resolved", "nobody is woken by a test"
    assert "s3cret" not in trial.text
    receiver.mode = "fail"
    (answer,) = try_it(json={"target": "oncall"}).json()["answers"]
    assert (answer["ok"], answer["status"], answer["text"]) == (False, 503, "no  [31mroom")
    assert try_it(json={"target": "nobody"}).status_code == 404
    path.write_text("targets: [")
    assert api.get("/api/v1/notify").status_code == 409
