"""Where the shipped rules and dashboards are: in the wheel, or beside an editable install's sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trueline.monitor.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: Literal["rules", "dashboards"]) -> Path:
    """The folder of shipped rules or dashboards; raises SettingsError if the installation lacks it."""
    bundled = _PACKAGE / "_bundled" / kind
    # monitor/trueline/monitor/resources.py: the repository is three folders up from the package.
    for folder in (bundled, _PACKAGE.parents[2] / kind):
        if folder.is_dir():
            return folder
    raise SettingsError(f"This installation has no {kind} folder ({bundled}): install trueline again.")


def rule_paths(configured: Sequence[Path], with_shipped: bool = True) -> list[Path]:
    """Folders and files of rules: the shipped ones, unless they are not wanted, and then the user's."""
    return [*([shipped("rules")] if with_shipped else []), *configured]
