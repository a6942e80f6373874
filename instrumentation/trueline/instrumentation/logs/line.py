"""One log line, whichever library wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Line:
    """What a library said, before anything is left out of it. Times are ns since the epoch."""

    logger: str
    #: As standard logging numbers them: 10 debug, 20 info, 30 warning, 40 error, 50 critical.
    level: int
    #: The text without its arguments.
    template: str
    #: Makes the text with its arguments.
    text: Callable[[], str]
    #: What the text was made with; exceptions among them are read.
    arguments: tuple[Any, ...] = ()
    #: Structured fields by name.
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    at: int = 0
    path: str = ""
    function: str = ""
    number: int = 0
