"""Which columns hold identities, by default and by configuration."""

from __future__ import annotations

import re

import pytest

from trueline.instrumentation.identity import Domain, IdentityConfig

DEFAULT = IdentityConfig()


@pytest.mark.parametrize(
    ("table", "column", "domain"),
    [
        *[
            ("expenses", column, "user")
            for column in ("user_id", "USER_ID", "user_id_hash", "user_hash", "uid")
        ],
        *[("expenses", column, "user") for column in ("psid", "psid_hash", "sender_psid", "account_id")],
        *[("expenses", column, "user") for column in ("customer_id", "member_id", "owner_id", "sender_id")],
        *[("expenses", column, "user") for column in ("clerk_id", "clerk_user_id", "telegram_user_id")],
        *[("expenses", column, "user") for column in ("hashed_user_id", "userid", "author_id", "user_uuid")],
        *[
            ("expenses", column, "tenant")
            for column in ("tenant_id", "org_id", "organization_id", "workspace_id")
        ],
        *[
            ("expenses", column, "message")
            for column in ("message_id", "mid", "delivery_id", "external_message_id")
        ],
        *[("expenses", column, "session") for column in ("session_id", "session_key")],
        *[("users", column, "email") for column in ("email", "user_email", "email_address")],
        *[(table, "id", "user") for table in ("users", "user", "customers", "auth_user", "app.users")],
        *[(table, "id", "tenant") for table in ("tenants", "organizations", "workspace")],
    ],
)
def test_defaults_find(table: str, column: str, domain: str) -> None:
    assert DEFAULT.domain_of(table, column) == domain


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *[("expenses", column) for column in ("id", "amount", "note", "created_by", "actor_id", "client_id")],
        *[
            ("expenses", column)
            for column in ("company_id", "team_id", "event_id", "uuid", "username", "user")
        ],
        *[
            ("expenses", column)
            for column in ("user_name", "user_agent", "user_id_count", "order_id", "status")
        ],
        *[("expenses", column) for column in ("email_sent_at", "emails", "session_token", "userid_type")],
        *[("user_settings", "id"), ("accounts_log", "id"), ("messages", "id"), ("sessions", "id")],
    ],
)
def test_defaults_leave_alone(table: str, column: str) -> None:
    assert DEFAULT.domain_of(table, column) is None


def test_names_patterns_and_exclusions() -> None:
    config = IdentityConfig(
        columns={
            "orders.ref": "user",
            "drop_number": "drop",
            r"tenant_.*": "tenant",
            r"log_\d+\.who": "user",
        },
        exclude=["audit.user_id", r"legacy_.*", "mid"],
    )
    assert config.domain_of("orders", "ref") == "user"
    assert config.domain_of("shop.orders", "REF") == "user"
    assert config.domain_of("invoices", "ref") is None
    assert config.domain_of("anything", "drop_number") == "drop"
    assert config.domain_of("anything", "tenant_key_2") == "tenant"
    assert config.domain_of("tenant_settings", "name") is None
    assert config.domain_of("log_2026", "who") == "user"
    assert config.domain_of("log_x", "who") is None
    assert config.domain_of("audit", "user_id") is None
    assert config.domain_of("expenses", "user_id") == "user"
    assert config.domain_of("expenses", "legacy_user_id") is None
    assert config.domain_of("expenses", "mid") is None


def test_configuration_goes_before_defaults() -> None:
    assert IdentityConfig(columns={"session_id": "user"}).domain_of("budgets", "session_id") == "user"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"columns": {"user_(": "user"}}, "'user_('"),
        ({"columns": {"ref": "no domain!"}}, "'no domain!'"),
        ({"columns": {"ref": None}}, "None"),
        ({"domains": {"drop": True}}, "Domain(...)"),
        ({"derivations": {"a b": str}}, "'a b'"),
        ({"exclude": "user_id"}, "exclude=['user_id']"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        IdentityConfig(**arguments)  # type: ignore[arg-type]


def test_plain_domains() -> None:
    config = IdentityConfig(domains={"drop": Domain(plain=True), "user": Domain()})
    assert [config.is_plain(name) for name in ("drop", "user", "tenant")] == [True, False, False]
