"""Telling when the application imports a module: libraries are watched where they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from trueline.instrumentation.guard import guarded

Told = Callable[[ModuleType], None]

_awaited: dict[str, Told] = {}


def when_imported(name: str, tell: Told) -> None:
    """Call ``tell`` with a module: now if it is loaded, else once after it has been. The last word counts."""
    module = sys.modules.get(name)
    if module is not None:
        _tell(tell, module)
        return
    _awaited[name] = tell
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


@guarded("imported")
def _tell(tell: Told, module: ModuleType) -> None:
    tell(module)


class _Finder(MetaPathFinder):
    """Finds nothing by itself: where others find an awaited module, its loader tells."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called for every import that is not cached: quick for names that nobody awaits."""
        tell = _awaited.pop(fullname, None)
        if tell is None:
            return None
        # Taken out before, so that this ends here.
        return _telling(fullname, tell)


@guarded("imported.find")
def _telling(name: str, tell: Told) -> ModuleSpec | None:
    spec = find_spec(name)
    if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
        spec.loader = _Loader(spec.loader, tell)
    return spec


class _Loader(Loader):
    """The module's own loader, and a word afterwards."""

    def __init__(self, loader: Loader, tell: Told) -> None:
        self._loader = loader
        self._tell = tell

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module; then tell, with its own loader back in place."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _tell(self._tell, module)


_finder = _Finder()
