"""Where commands print: tables for a terminal that stay readable, and unwrapped, in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of a line that is not going to a terminal; nothing there cuts it.
PIPE_WIDTH: Final = 160


def make_console() -> Console:
    """A console on standard output: colours and the terminal's width, or plain text in a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, soft_wrap=False, width=width)
