"""Faults put into functions of the instrumentation, which are found so that none is forgotten.

A function's code object is exchanged, so that every reference to it is hit: methods, closures, functions
imported by name, and calls on other threads and in greenlets.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trueline.instrumentation

ROOT = str(Path(trueline.instrumentation.__file__).parent)

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

#: name -> what happens at a call of the function: it gets the original, its arguments, and answers.
_replacements: dict[str, Callable[..., Any]] = {}


def functions() -> dict[str, list[types.FunctionType]]:
    """Every function object of the package that is alive, by ``module:qualified name``."""
    for module in pkgutil.walk_packages(trueline.instrumentation.__path__, "trueline.instrumentation."):
        importlib.import_module(module.name)
    found: dict[str, list[types.FunctionType]] = {}
    for candidate in gc.get_objects():
        if type(candidate) is types.FunctionType and candidate.__code__.co_filename.startswith(ROOT):
            found.setdefault(name_of(candidate.__code__), []).append(candidate)
    return found


def name_of(code: types.CodeType) -> str:
    """``module:qualified name`` of a function's code."""
    module = code.co_filename[len(ROOT) + 1 :].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"{module}:{code.co_qualname}"


def can_be_replaced(function: types.FunctionType) -> bool:
    """Generators only raise when they are iterated: whoever iterates them is replaced."""
    return not function.__code__.co_flags & _GENERATORS


@contextmanager
def all_replaced(
    chosen: dict[str, list[types.FunctionType]], behaviour: Callable[..., Any]
) -> Iterator[None]:
    """Each of ``chosen`` does ``behaviour(name, original, args, kwargs)`` instead."""
    codes: list[tuple[types.FunctionType, types.CodeType]] = []
    try:
        for name, group in chosen.items():
            for function in group:
                code = function.__code__
                codes.append((function, code))
                key = f"{name}#{id(function)}"
                original = types.FunctionType(
                    code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
                )
                original.__kwdefaults__ = function.__kwdefaults__
                _replacements[key] = _caller(name, original, behaviour)
                function.__code__ = _stand_in(key, code)
        yield
    finally:
        for function, code in codes:
            function.__code__ = code
        _replacements.clear()


def _caller(name: str, original: types.FunctionType, behaviour: Callable[..., Any]) -> Callable[..., Any]:
    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return behaviour(name, original, args, kwargs)

    return call


def _stand_in(key: str, code: types.CodeType) -> types.CodeType:
    """Code that calls the replacement, with as many free variables as ``code`` and as async as it."""
    free = code.co_freevars
    is_async = bool(code.co_flags & inspect.CO_COROUTINE)
    lines = ["def outer():", *(f"    {name} = None" for name in free)]
    lines.append(f"    {'async ' if is_async else ''}def stand_in(*args, **kwargs):")
    if free:
        lines += ["        if not stand_in_never:", f"            ({', '.join(free)},)"]
    call = f"__import__('sys').modules[{__name__!r}]._replacements[{key!r}](args, kwargs)"
    # A fault put in may end before this: the function may be called by a thread of its own.
    lines.append(f"        return {'await ' if is_async else ''}{call}")
    lines.append("    return stand_in")
    source = "\n".join(lines).replace("stand_in_never", "True")
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    made: types.CodeType = namespace["outer"]().__code__
    assert made.co_freevars == free, (made.co_freevars, free)
    return made


def reached_by(work: Callable[[], Any], among: dict[str, list[types.FunctionType]]) -> set[str]:
    """The names of those functions that ``work`` calls, on any thread."""
    reached: set[str] = set()

    def count(name: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        reached.add(name)
        return original(*args, **kwargs)

    with all_replaced(among, count):
        work()
    return reached


assert sys.implementation.name == "cpython"
