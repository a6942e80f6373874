"""The command ``trueline``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

from trueline.monitor.errors import MissingExtraError, TruelineError

#: What the extra brings and every command needs. The embedded engine is asked for where it is opened.
_REQUIRED: Final = (
    "typer", "rich", "pydantic_settings", "structlog", "fastapi", "uvicorn", "httpx", "jinja2", "yaml",
    "clickhouse_connect",
)  # fmt: skip


def main() -> None:
    """Run the command line. Exit with 0, with 1 where a command says so, or 2 for what the user can mend."""
    try:
        _require_extra()
        from trueline.monitor.cli import build_cli

        build_cli()(prog_name="trueline")
    except TruelineError as error:
        print(f"trueline: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _require_extra() -> None:
    for name in _REQUIRED:
        try:
            missing = find_spec(name) is None
        except ImportError:
            missing = True
        if missing:
            raise MissingExtraError(
                f"The command needs libraries that are not installed ({name}): "
                "pip install 'trueline[monitor]'."
            )


if __name__ == "__main__":
    main()
