"""Functions of the application that were named as text: ``"myapp.ids:clerk_user_id_to_int"``.

They are never imported from here: importing an application's modules before the application does can turn
its start around. A function whose module this process has not imported made no value in it either, so a
derivation is simply not there until then.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

logger = logging.getLogger("trueline")

_NAME: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class NamedFunction:
    """A function by its dotted name; calling it before the application has imported it raises LookupError."""

    __slots__ = ("_found", "_said", "name")

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self._found: Callable[..., object] | None = None
        self._said = False

    def __repr__(self) -> str:
        return f"NamedFunction({self.name!r})"

    def __call__(self, *arguments: Any) -> object:
        """Call the function; LookupError while the application has not imported it."""
        function = self._found
        if function is None:
            module = _loaded(self.name)
            if module is None:
                raise LookupError(self.name)
            function, mistake = self._in(module)
            if function is None:
                if mistake and not self._said:
                    self._said = True
                    logger.warning("trueline: %s", mistake)
                raise LookupError(self.name)
            self._found = function
        return function(*arguments)

    def mistake(self) -> str:
        """Return one sentence on why the name leads nowhere, "" where it leads to a function or may yet.

        Looks for the package on the path where it is not imported: not for the hot path.
        """
        module = _loaded(self.name)
        return self._in(module)[1] if module is not None else _unknown(self.name)

    def _in(self, module: ModuleType) -> tuple[Callable[..., object] | None, str]:
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            return None, ""  # it is being imported just now
        module_name, _, path = self.name.partition(":")
        found: Any = module
        for part in path.split("."):
            found = getattr(found, part, None)
            if found is None:
                return None, f"identity function {self.name!r}: module {module_name!r} has no {path!r}"
        if not callable(found):
            return None, f"identity function {self.name!r} is a {type(found).__name__}, not a function"
        return found, ""


def _loaded(name: str) -> ModuleType | None:
    module = name.partition(":")[0]
    found = sys.modules.get(module)
    if found is None:
        # python worker.py: what others would import as worker is called __main__
        main = sys.modules.get("__main__")
        spec = getattr(main, "__spec__", None)
        stem = os.path.splitext(os.path.basename(getattr(main, "__file__", None) or ""))[0]
        if module == (spec.name if spec is not None else stem):
            return main
    return found


def _unknown(name: str) -> str:
    package = name.partition(":")[0].partition(".")[0]
    try:  # a top-level name only: looking for a.b would import a
        known = package in sys.modules or importlib.util.find_spec(package) is not None
    except (ImportError, ValueError, AttributeError):
        known = True  # nothing is proved
    if known:
        return ""
    return f"identity function {name!r}: there is no module {package!r} on this process's path"


def function_of(given: object, what: str) -> Callable[..., object]:
    """Return a function that was given as such or by name; ValueError with one sentence for anything else."""
    if isinstance(given, str):
        if not _NAME.fullmatch(given):
            raise ValueError(
                f"{what}: {given!r} is not the name of a function, which is written 'package.module:function'"
            )
        return NamedFunction(given)
    if not callable(given):
        raise ValueError(f"{what} must be a function or the name of one, not {type(given).__name__}")
    return given
