"""Healthy work: whatever these do, no stable rule has anything to say about it.

Each looks like an incident to a careless rule, or is what most traffic is: a read, a write, an answer.
"""

from __future__ import annotations

from scenarios.noise.healthy import chat, crm, drops, ledger, migrations, probes, shop, shop_behind
from scenarios.noise.play import Play

_MODULES = (shop, probes, shop_behind, chat, crm, drops, ledger)


def healthy() -> list[Play]:
    """All that comes ever and again. The order is part of what a seed means."""
    return [*(make() for module in _MODULES for make in module.PLAYS), *migrations.migrated()]


def once() -> list[tuple[Play, float]]:
    """What happens a single time in each environment, and when (as a part of all time)."""
    steps = [
        migrations.ADDED + (migrations.BACKFILLED - migrations.ADDED) * part / 20 for part in range(1, 19)
    ]
    return [
        planned
        for environment in ("prod", "staging")
        for planned in (
            (migrations.rename(environment), migrations.RENAMED),
            (migrations.add_column(environment), migrations.ADDED),
            *((migrations.backfill(environment), at) for at in steps),
            # At half time some tenants move, as the rows that are made have it.
            (crm.copy_tenants(environment), 0.499),
            (crm.fill_own_users(environment), 0.01),
            *((migrations.loss(environment), at) for at in (0.037, 0.137, 0.237)),
        )
    ]
