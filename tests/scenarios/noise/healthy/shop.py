"""A shop's web process: requests that read, write, are refused, fail and say so, and are tried again."""
# ruff: noqa: SIM117 - a transaction stands inside its request

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    SHOP_WEB,
    SHOP_WORKER,
)
from scenarios.noise.play import Play

_INTEGRITY: Final = "sqlalchemy.exc.IntegrityError"
_SERIALIZATION: Final = "sqlalchemy.exc.OperationalError"


def cart_viewed() -> Play:
    """A read-only transaction that is closed without a commit."""
    play = Play("cart viewed", 200)
    with play.request(SHOP_WEB, "GET /cart", bound=("user",)) as entry, entry.transaction() as work:
        work.select("carts", "user_id integer user", others=["products"], rows=4)
        work.select("recommendations", "user_id integer user", rows=6)
        work.rollback("not_committed")
    return play


def product_viewed() -> Play:
    """Reads that are nobody's."""
    play = Play("product viewed", 200)
    with play.request(SHOP_WEB, "GET /products/{id}") as entry, entry.transaction() as work:
        work.select("products", by="id", rows=1)
        work.select("reviews", by="product_id", rows=12, others=["users"])
        work.rollback("not_committed")
    return play


def order_placed() -> Play:
    """Written, committed, and a receipt sent by a job of the same trace."""
    play = Play("order placed", 30)
    with (
        play.request(SHOP_WEB, "POST /orders", bound=("user",), status=201) as entry,
        entry.transaction() as work,
    ):
        work.select("carts", "user_id integer user", rows=3, lock=True)
        work.insert("orders", "user_id integer user")
        work.insert("order_items", rows=3, owner="user")
        work.update("carts", "user_id integer user")
    play.wait(300)
    with play.job(SHOP_WORKER, "send_receipt", bound=("user",)) as entry, entry.transaction() as work:
        work.select("orders", "user_id integer user", rows=1)
        work.insert("emails", "user_id integer user")
    return play


def order_looked_up() -> Play:
    """Read back where it was written."""
    play = Play("order looked up", 100)
    with play.request(SHOP_WEB, "GET /orders", bound=("user",)) as entry, entry.transaction() as work:
        work.select("orders", "user_id integer user", rows=5, others=["order_items"])
        work.rollback("not_committed")
    return play


def order_refused() -> Play:
    """Input refused before any write."""
    play = Play("order refused (422)", 1)
    with play.request(SHOP_WEB, "POST /orders", bound=("user",), status=422):
        play.wait(2)
    return play


def order_conflict() -> Play:
    """Rolled back on purpose after a write, and the caller is told."""
    play = Play("order conflict (409)", 1)
    with (
        play.request(SHOP_WEB, "POST /orders", bound=("user",), status=409) as entry,
        entry.transaction() as work,
    ):
        work.insert("orders", "user_id integer user")
        work.select("stock", by="product_id", rows=1)
        work.rollback("explicit")
    return play


def order_failed() -> Play:
    """An exception rolls back, and the caller is told."""
    play = Play("order failed (500)", 1)
    with (
        play.request(
            SHOP_WEB, "POST /orders", bound=("user",), status=500, error="builtins.KeyError"
        ) as entry,
        entry.transaction() as work,
    ):
        work.insert("orders", "user_id integer user")
        work.rollback("exception", "builtins.KeyError")
    return play


def order_cancelled() -> Play:
    """The client goes away in the middle."""
    play = Play("client gone", 1)
    with play.request(SHOP_WEB, "POST /orders", bound=("user",), status=0, gone=True) as entry:
        with entry.transaction() as work:
            work.insert("orders", "user_id integer user")
            work.rollback("abandoned", "asyncio.exceptions.CancelledError")
    return play


def handler_refuses_after_write() -> Play:
    """A handler raises 422 after its first write and leaves the rollback to the pool; the caller is told."""
    play = Play("refused after a write", 1)
    with (
        play.request(SHOP_WEB, "POST /coupons", bound=("user",), status=422) as entry,
        entry.transaction() as work,
    ):
        work.insert("coupons", "user_id integer user")
        work.rollback("not_committed")
    return play


def coupon_redeemed() -> Play:
    """The same handler when all is well."""
    play = Play("coupon redeemed", 3)
    with (
        play.request(SHOP_WEB, "POST /coupons", bound=("user",), status=201) as entry,
        entry.transaction() as work,
    ):
        work.insert("coupons", "user_id integer user")
    return play


def checkout_retried() -> Play:
    """A serialization error, and the retry that lands."""
    play = Play("checkout, retried", 2)
    with play.request(SHOP_WEB, "POST /checkout", bound=("user",)) as entry:
        with entry.transaction(isolation="serializable") as work:
            work.insert("payments", "user_id integer user")
            work.refused("stock", code="40001")
            work.rollback("exception", _SERIALIZATION)
        play.wait(50)
        with entry.transaction(isolation="serializable") as work:
            work.insert("payments", "user_id integer user")
            work.update("stock", by="product_id")
    return play


def checkout() -> Play:
    """The same without the error."""
    play = Play("checkout", 10)
    with play.request(SHOP_WEB, "POST /checkout", bound=("user",)) as entry:
        with entry.transaction(isolation="serializable") as work:
            work.insert("payments", "user_id integer user")
            work.update("stock", by="product_id")
    return play


def profile_upserted() -> Play:
    """ON CONFLICT DO UPDATE."""
    play = Play("profile upserted", 6)
    with play.request(SHOP_WEB, "PUT /profile", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("profiles", "user_id integer user", conflict="update")
    return play


def profile_read() -> Play:
    """Read under the key that is written."""
    play = Play("profile read", 40)
    with play.request(SHOP_WEB, "GET /profile", bound=("user",)) as entry, entry.transaction() as work:
        work.select("profiles", "user_id integer user", rows=1)
        work.rollback("not_committed")
    return play


def event_recorded() -> Play:
    """ON CONFLICT DO NOTHING, of which nothing comes."""
    play = Play("event repeated", 5)
    with (
        play.request(SHOP_WEB, "POST /events", bound=("user",), status=204) as entry,
        entry.transaction() as work,
    ):
        work.insert("page_events", "user_id integer user", conflict="nothing", rows=0)
    return play


def signed_up() -> Play:
    """A new user, under two keys."""
    play = Play("signed up", 3)
    with play.request(SHOP_WEB, "POST /signup", status=201) as entry, entry.transaction() as work:
        work.insert("users", "id integer user", "email_hash sha256 user")
    return play


def name_taken() -> Play:
    """A constraint refuses a name that is taken, and the caller is told."""
    play = Play("name taken (409)", 1)
    with play.request(SHOP_WEB, "POST /signup", status=409) as entry, entry.transaction() as work:
        work.refused("users", "id integer user", constraint="users_name_key", columns=["name"])
        work.rollback("exception", _INTEGRITY)
    return play


PLAYS: Final = (
    cart_viewed,
    product_viewed,
    order_placed,
    order_looked_up,
    order_refused,
    order_conflict,
    order_failed,
    order_cancelled,
    handler_refuses_after_write,
    coupon_redeemed,
    checkout_retried,
    checkout,
    profile_upserted,
    profile_read,
    event_recorded,
    signed_up,
    name_taken,
)
