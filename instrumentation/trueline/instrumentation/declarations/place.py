"""Where trueline.yaml is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "TRUELINE_CONFIG"
FILE_NAME: Final = "trueline.yaml"


def find(config: str | os.PathLike[str] | None, environ: Mapping[str, str] = os.environ) -> tuple[Path, bool]:
    """The file to read, and whether somebody named it: argument, variable, else the working directory's."""
    named = os.fspath(config) if config is not None else environ.get(VARIABLE, "").strip()
    return (Path(named).expanduser(), True) if named else (Path(FILE_NAME), False)
