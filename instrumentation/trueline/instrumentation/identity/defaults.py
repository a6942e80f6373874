"""Column names that are taken for identities when nothing was configured.

The choice is narrow on purpose: a column that names something else than a person, tenant, delivery or
session makes findings about nobody. What is left out, and why: ``client_id`` (OAuth clients),
``created_by`` and ``actor_id`` (who did it, not whose data it is), ``company_id`` and ``team_id`` (often
plain rows), ``event_id`` and ``uuid`` (any row's own key), ``username`` (a second name beside the key).
"""

from __future__ import annotations

import re
from typing import Final

_PERSON: Final = "user|customer|member|owner|sender|recipient|author|subscriber|patient|person|account|player"
_TENANT: Final = "tenant|org|organization|organisation|workspace"
_HASHED: Final = "(?:_(?:hash|hashed|digest|sha256|sha1|md5|hmac))?"

#: Full-match patterns over lower-case column names, by domain; the first that fits decides.
COLUMNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "user",
        re.compile(
            rf"(?:hashed_)?(?:[a-z]+_)?(?:user|customer|member)_?(?:id|uid|uuid|guid){_HASHED}"
            rf"|(?:hashed_)?(?:{_PERSON})_(?:id|uid|uuid|guid|key){_HASHED}"
            rf"|(?:user|customer|member)_(?:hash|hashed|digest|sha256)"
            rf"|(?:psid|page_scoped_id|uid|userid|clerk_id|telegram_id|sender_psid|recipient_psid){_HASHED}"
        ),
    ),
    ("tenant", re.compile(rf"(?:{_TENANT})_(?:id|uid|uuid|guid|key){_HASHED}")),
    (
        "message",
        re.compile(
            rf"(?:[a-z]+_)?message_(?:id|uid|uuid|guid){_HASHED}|mid{_HASHED}|delivery_id{_HASHED}"
            rf"|webhook_event_id|webhook_delivery_id|idempotency_key"
        ),
    ),
    ("session", re.compile(rf"(?:session_(?:id|uid|uuid|key)){_HASHED}")),
    ("email", re.compile(rf"(?:user_|customer_|member_)?e?mail(?:_address)?{_HASHED}")),
)

#: Tables whose own primary key ``id`` is the identity that ``<table>_id`` names elsewhere.
KEY_TABLES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "user",
        re.compile(r"(?:app_|auth_)?users?|customers?|members?|accounts?|subscribers?|patients?|persons?"),
    ),
    ("tenant", re.compile(rf"(?:{_TENANT})s?")),
)
