"""Hosts that serve models: the well-known ones, and those that the operator names."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

#: Hosts whose HTTP calls are AI calls although no GenAI attribute says so.
PROVIDERS: Final = (
    "api.anthropic.com",
    "api.cohere.com",
    "api.deepseek.com",
    "api.fireworks.ai",
    "api.groq.com",
    "api.mistral.ai",
    "api.openai.com",
    "api.perplexity.ai",
    "api.together.xyz",
    "api.x.ai",
    "generativelanguage.googleapis.com",
    "openrouter.ai",
)
#: The same for hosts that carry a region or a tenant; of the syntax that Python's ``re`` and RE2 share.
PROVIDER_PATTERN: Final = (
    r"^([\w-]+\.openai\.azure\.com"
    r"|([\w-]+-)?aiplatform\.googleapis\.com"
    r"|bedrock-runtime[\w.-]*\.amazonaws\.com)$"
)
#: Libraries through which models are called, as they are imported.
CLIENTS: Final = (
    "anthropic",
    "cohere",
    "google.genai",
    "groq",
    "litellm",
    "mistralai",
    "ollama",
    "openai",
    "together",
)
_ENTRY: Final = re.compile(r"(?P<host>(\*\.)?[\w.-]+|\[[0-9a-f:]+\])(:(?P<port>\d{1,5}))?")


def loaded_clients() -> tuple[str, ...]:
    """Those of the libraries that this process has loaded."""
    return tuple(name for name in CLIENTS if name in sys.modules)


class ModelHosts:
    """The well-known hosts and ``more``: ``host``, ``host:port`` or ``*.domain``, in any case.

    Raises ValueError for anything else.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._exact: set[tuple[str, str]] = {(host, "") for host in PROVIDERS}
        self._domains: set[tuple[str, str]] = set()
        for text in more:
            found = _ENTRY.fullmatch(text.strip().lower())
            if found is None:
                raise ValueError(f"{text!r} is no host: write host, host:port or *.domain")
            host, port = found["host"].strip("[]"), found["port"] or ""
            if host.startswith("*."):
                self._domains.add((host[1:], port))
            else:
                self._exact.add((host, port))
        self._pattern = re.compile(PROVIDER_PATTERN)
        # One answer a host: a process talks to few, and a bound keeps it from growing with a crawler's.
        self._known = functools.lru_cache(maxsize=512)(self._look)

    def has(self, host: str, port: Any = None) -> bool:
        """Whether a model is served there; ``host`` in lower case."""
        return self._known(host, "" if port is None else str(port))

    def _look(self, host: str, port: str) -> bool:
        if (host, "") in self._exact or (host, port) in self._exact:
            return True
        if any(host.endswith(domain) and wanted in ("", port) for domain, wanted in self._domains):
            return True
        return self._pattern.match(host) is not None
