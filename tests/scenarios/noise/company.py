"""Who works in the noise: services of five applications, and their databases."""

from __future__ import annotations

from typing import Final

from scenarios.noise.model import Database, Service

SHOP: Final = Database("shop", endpoint="shop-primary")
#: A physical replica: the same database, somewhere else.
SHOP_REPLICA: Final = Database("shop", role="replica", endpoint="shop-replica", variable="REPLICA_URL")
CHAT: Final = Database("chat")
#: Tenants by database, and by schema.
CRM: Final = Database("crm", spread="shard")
BILLING: Final = Database("billing", spread="schema")
BILLING_OWN: Final = Database("billing")
DROPS: Final = Database("drops")
QUALITY: Final = Database("quality", variable="QUALITY_DATABASE_URL")
LEDGER: Final = Database("ledger")

SHOP_WEB: Final = Service("shop-web", "shop", SHOP, instances=4)
SHOP_WORKER: Final = Service("shop-worker", "shop", SHOP, kind="worker")
SHOP_REPORTS: Final = Service("shop-reports", "shop", SHOP_REPLICA, instances=2)
SHOP_ADMIN: Final = Service("shop-admin", "shop", SHOP, instances=1)
CHAT_WEB: Final = Service("chat-web", "chat", CHAT)
CHAT_SUMMARIES: Final = Service("chat-summaries", "chat", CHAT, kind="worker", instances=2)
CRM_API: Final = Service("crm-api", "crm", CRM)
CRM_BILLING: Final = Service("crm-billing", "crm", BILLING)
DROPS_BOT: Final = Service("drops-bot", "drops", DROPS, kind="worker", instances=2)
DROPS_BOARD: Final = Service("drops-board", "drops", DROPS, instances=1)
#: Its statements nobody sees: it only logs.
DROPS_IMPORTER: Final = Service("drops-importer", "drops", DROPS, kind="worker", instances=1)
LEDGER_API: Final = Service("ledger-api", "ledger", LEDGER, ratio=0.2)
LEDGER_BATCH: Final = Service("ledger-batch", "ledger", LEDGER, kind="script", instances=1)
