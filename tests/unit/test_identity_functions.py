"""Functions by name, resolvers by domain, keys and namespaces: what is asked of them, and when."""

from __future__ import annotations

import logging
import re
import sys
import threading
import types
import uuid
from collections.abc import Iterator

import pytest

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Planner

MODULE = "trueline_test_application"
PLAN = Planner(IdentityConfig()).plan("SELECT 1 FROM expenses WHERE user_id = ?", "sqlite")
TWO = Planner(IdentityConfig()).plan("UPDATE t SET x = 1 WHERE user_id = ? AND tenant_id = ?", "sqlite")


@pytest.fixture
def application() -> Iterator[types.ModuleType]:
    """A module that the application has imported."""
    module = types.ModuleType(MODULE)
    vars(module)["to_int"] = lambda raw: len(str(raw)) * 1000
    vars(module)["number"] = 5
    sys.modules[MODULE] = module
    yield module
    sys.modules.pop(MODULE, None)


def extractor(config: IdentityConfig) -> IdentityExtractor:
    return IdentityExtractor(config, IdentityHasher("secret"))


def test_a_derivation_by_name(application: types.ModuleType) -> None:
    config = IdentityConfig(derivations={"clerk": f"{MODULE}:to_int"})
    assert config.mistakes() == []
    one = extractor(config)
    bound = one.bind("abcde", "user")
    found = one.extract(PLAN, (5000,), bound=(bound,))
    assert (found.encodings, found.values) == (("fn:clerk",), (bound.value,))


def test_a_method_of_a_class_by_name(application: types.ModuleType) -> None:
    class Ids:
        @staticmethod
        def clerk(raw: object) -> str:
            return f"clerk-{raw}"

    vars(application)["Ids"] = Ids
    one = extractor(IdentityConfig(derivations={"clerk": f"{MODULE}:Ids.clerk"}))
    assert one.extract(PLAN, ("clerk-7",), bound=(one.bind("7", "user"),)).encodings == ("fn:clerk",)


def test_a_module_is_never_imported() -> None:
    assert "this" not in sys.modules
    one = extractor(IdentityConfig(derivations={"clerk": "this:to_int"}))
    assert one.extract(PLAN, ("5000",), bound=(one.bind("abcde", "user"),)).encodings == ("raw",)
    assert "this" not in sys.modules


def test_a_function_that_comes_later_is_found_then(application: types.ModuleType) -> None:
    del sys.modules[MODULE]
    one = extractor(IdentityConfig(derivations={"clerk": f"{MODULE}:to_int"}))
    assert one.extract(PLAN, (5000,), bound=(one.bind("abcde", "user"),)).encodings == ("integer",)
    sys.modules[MODULE] = application
    assert one.extract(PLAN, (6000,), bound=(one.bind("abcdef", "user"),)).encodings == ("fn:clerk",)


def test_what_leads_nowhere_is_one_sentence(application: types.ModuleType) -> None:
    config = IdentityConfig(
        derivations={"a": f"{MODULE}:absent", "b": f"{MODULE}:number", "c": "no_such_package_at_all.x:f"},
        resolver={"user": f"{MODULE}:nothing"},
    )
    assert config.mistakes() == [
        f"identity function '{MODULE}:absent': module '{MODULE}' has no 'absent'",
        f"identity function '{MODULE}:number' is a int, not a function",
        "identity function 'no_such_package_at_all.x:f': there is no module 'no_such_package_at_all' "
        "on this process's path",
        f"identity function '{MODULE}:nothing': module '{MODULE}' has no 'nothing'",
    ]


def test_the_hot_path_says_it_once(application: types.ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    one = extractor(IdentityConfig(derivations={"a": f"{MODULE}:absent"}))
    with caplog.at_level(logging.WARNING, "trueline"):
        for number in range(3):
            one.extract(PLAN, ("somebody",), bound=(one.bind(f"u{number}", "user"),))
    assert [record.getMessage() for record in caplog.records] == [
        f"trueline: identity function '{MODULE}:absent': module '{MODULE}' has no 'absent'"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"derivations": {"a": "myapp.ids.to_int"}}, "derivation 'a': 'myapp.ids.to_int' is not the name"),
        ({"derivations": {"a": 5}}, "derivation 'a' must be a function or the name of one, not int"),
        ({"resolver": {"user": 5}}, "resolver of domain 'user' must be a function"),
        ({"resolver": "nowhere"}, "'package.module:function'"),
        ({"hmac_keys": {"app": ""}}, "the key 'app' must be text or bytes, and not empty"),
        ({"hmac_keys": {"app": 5}}, "the key 'app' must be"),
        ({"uuid_namespaces": {"acme": "no-uuid"}}, "uuid_namespaces: 'acme' is not a UUID"),
        ({"uuid_namespaces": {"a b": uuid.NAMESPACE_DNS}}, "'a b'"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        IdentityConfig(**arguments)  # type: ignore[arg-type]


def test_a_key_is_in_no_sentence() -> None:
    with pytest.raises(ValueError, match="bad name") as raised:
        IdentityConfig(hmac_keys={"bad name": "hunter2-key"})
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(IdentityConfig(hmac_keys={"app": "hunter2-key"}))


# -- the resolver -----------------------------------------------------------------------------------------


def test_each_domain_has_its_resolver() -> None:
    config = IdentityConfig(
        resolver={
            "user": lambda domain, column, value: {7: "ann"}.get(value),  # type: ignore[call-overload]
            "tenant": lambda domain, column, value: f"{domain} {column} {value}",
        }
    )
    one = extractor(config)
    found = one.extract(TWO, (7, 8))
    assert found.values == (one.bind("ann", "user").value, one.bind("tenant t.tenant_id 8", "tenant").value)
    assert found.encodings == ("integer", "integer")
    unresolved = one.extract(TWO, (9, 8))
    assert unresolved.values[0] == one.bind(9, "user").value


def test_an_answer_is_kept_and_no_answer_is_not() -> None:
    asked: list[object] = []
    known: dict[object, str] = {}

    def resolve(domain: str, column: str, value: object) -> object:
        asked.append(value)
        return known[value]

    one = extractor(IdentityConfig(resolver=resolve))
    assert one.extract(PLAN, (7,)).values == (one.bind(7, "user").value,)
    known[7] = "ann"
    for _ in range(3):
        assert one.extract(PLAN, (7,)).values == (one.bind("ann", "user").value,)
    assert asked == [7, 7]


def test_a_relative_of_the_bound_identity_needs_no_resolver() -> None:
    asked: list[object] = []

    def resolve(domain: str, column: str, value: object) -> object:
        asked.append(value)
        return "somebody else"

    one = extractor(IdentityConfig(resolver=resolve))
    bound = one.bind("ann", "user")
    assert one.extract(PLAN, ("ANN",), bound=(bound,)).values == (bound.value,)
    assert asked == []


def test_a_resolver_that_runs_a_statement_is_not_asked_about_it() -> None:
    depth: list[int] = []

    def resolve(domain: str, column: str, value: object) -> object:
        depth.append(len(depth))
        return one.extract(PLAN, (f"inner {value}",)).values[0]

    one = extractor(IdentityConfig(resolver=resolve))
    assert one.extract(PLAN, ("outer",)).values
    assert depth == [0]


def test_a_derivation_that_runs_a_statement_is_not_asked_about_it() -> None:
    calls: list[object] = []

    def derive(raw: object) -> object:
        calls.append(raw)
        one.extract(PLAN, ("inner",), bound=(bound,))
        return "derived"

    one = extractor(IdentityConfig(derivations={"loop": derive}))
    bound = one.bind("ann", "user")
    assert one.extract(PLAN, ("derived",), bound=(bound,)).encodings == ("fn:loop",)
    assert calls == ["ann"]


# -- what is kept of bound identities ---------------------------------------------------------------------


def test_one_binding_for_one_identity() -> None:
    one = extractor(IdentityConfig())
    assert one.bind("12345", "user") is one.bind("12345", "user")
    assert one.bind("12345", "user") is not one.bind(12345, "user")
    assert one.bind("12345", "user") is not one.bind("12345", "tenant")
    key = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")
    assert one.bind(key, "user") is one.bind(uuid.UUID(str(key)), "user")


def test_several_bound_identities_are_kept_apart() -> None:
    one = extractor(IdentityConfig())
    ann, bob, acme = one.bind("ann", "user"), one.bind("bob", "user"), one.bind("acme", "tenant")
    message = one.bind("ANN", "message")
    for _ in range(2):
        assert one.extract(PLAN, ("ANN",), bound=(ann, acme)).values == (ann.value,)
        assert one.extract(PLAN, ("BOB",), bound=(ann, bob)).values == (bob.value,)
        assert one.extract(PLAN, ("ANN",), bound=(ann, bob)).values == (ann.value,)
        assert one.extract(PLAN, ("ANN",), bound=(bob, acme)).values == one.extract(PLAN, ("ANN",)).values
        assert one.extract(PLAN, ("ANN",), bound=(message,)).encodings == ("raw",)
        assert one.extract(PLAN, ("ANN",), bound=(acme, ann)).encodings == ("raw/upper",)
        both = one.extract(TWO, ("ANN", "ACME"), bound=(ann, acme))
        assert both.values == (ann.value, acme.value)


def test_what_was_found_for_a_binding_is_found_again_and_for_no_other() -> None:
    one = extractor(IdentityConfig())
    ann, bob, eve, tom = (one.bind(name, "user") for name in ("ann", "bob", "eve", "tom"))
    message = one.bind("mid-1", "message")
    for bound in ((ann,), (ann, message), (message, ann)):
        first = one.extract(PLAN, ("ANN",), bound=bound)
        assert first.encodings == ("raw/upper",)
        assert one.extract(PLAN, ("ANN",), bound=bound) is first
    assert one.extract(PLAN, ("ANN",), bound=(ann, bob)).values == (ann.value,)
    assert one.extract(PLAN, ("ANN",), bound=(eve, tom)).values == one.extract(PLAN, ("ANN",)).values
    assert one.extract(PLAN, ("ANN",), bound=(tom,)).values == one.extract(PLAN, ("ANN",)).values


def test_caches_are_bounded_and_threads_agree() -> None:
    one = extractor(IdentityConfig())
    wrong: list[object] = []

    def work(at: int) -> None:
        for number in range(3000):
            bound = one.bind(f"user-{at}-{number}", "user")
            found = one.extract(PLAN, (f"USER-{at}-{number}",), bound=(bound,))
            if found.values != (bound.value,) or found.encodings != ("raw/upper",):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    recogniser = one._recogniser
    assert len(one._bound_singles) <= 8192 + 4
    assert len(recogniser._seen) <= 8192 + 4
    assert len(recogniser._relatives) <= 1024 + 4
    assert len(recogniser._bindings) <= 1024 + 4


def test_thousands_of_rows_are_the_first_identities_and_a_count() -> None:
    one = extractor(IdentityConfig())
    insert = "INSERT INTO expenses (user_id, amount) VALUES (?, ?)"
    plan = Planner(IdentityConfig()).plan(insert, "sqlite")
    rows: list[tuple[object, ...]] = [(f"u{number}", 1) for number in range(10_000)]
    found = one.extract(plan, rows, executemany=True)
    assert found.values == tuple(one.bind(f"u{number}", "user").value for number in range(16))
    assert found.count == 10_000
    same = one.extract(plan, [("u1", number) for number in range(10_000)], executemany=True)
    assert (len(same.values), same.count) == (1, 1)
    short = one.extract(plan, [("u1", 1), (), ("u2", 1)], executemany=True)
    assert short.values == tuple(one.bind(name, "user").value for name in ("u1", "u2"))
    odd = one.extract(plan, [([f"a{number}"], 1) for number in range(40)], executemany=True)
    assert (len(odd.values), odd.count) == (16, 40)
    assert len(one._recogniser._seen) < 200  # only what is exported was looked at
