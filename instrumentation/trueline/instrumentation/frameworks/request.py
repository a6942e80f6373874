"""What a function that tells whose request it is gets to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from trueline.instrumentation.guard import guarded

#: Bodies are read for an identity up to this size, bytes, and only where their length is known before.
BODY_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query_string: str = ""
    #: Parameters of the route, where a router has seen the request already.
    path_params: Mapping[str, Any] = field(default_factory=dict)
    #: The framework's session, where its middleware stands around this one.
    session: Mapping[str, Any] = field(default_factory=dict)
    #: None where it was not read: not asked for, or too long.
    body: bytes | None = None

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {name: values[-1] for name, values in parse_qs(self.query_string).items()}

    def json(self) -> Any:
        """The body as JSON; an empty dict where it is none, so that look-ups need no check."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            return {}


#: Tells an identity, or None for nobody. What it raises counts as nobody.
Teller = Callable[[RequestView], Any]


@guarded("request.identity")
def told(teller: Teller | None, request: RequestView) -> Any:
    """What the application's function says; None where there is none or it raises."""
    return None if teller is None else teller(request)


def body_length(headers: Mapping[str, str]) -> int:
    """The length that a request announces; 0 where it announces none, or nonsense."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 16 else 0
