"""Each application is written once, as asyncio code; its blocking twin is made from the same source.

The twin is what the author of a blocking service would have written: ``await x`` becomes ``x``, ``async
with`` becomes ``with``. It is compiled with the original's line numbers, so that failures point there.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any


class _Blocking(ast.NodeTransformer):
    """Takes asyncio out of a syntax tree."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        fields = {name: getattr(node, name) for name in node._fields}
        return ast.copy_location(ast.FunctionDef(**fields), node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.With(items=node.items, body=node.body), node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        loop = ast.For(target=node.target, iter=node.iter, body=node.body, orelse=node.orelse)
        return ast.copy_location(loop, node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        return node.value

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.is_async = 0
        return node


@functools.cache
def _module(path: str) -> ast.Module:
    with open(path, encoding="utf-8") as file:
        return ast.parse(file.read(), path)


@functools.cache
def blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """The blocking twin of a module-level ``async def``."""
    path = inspect.getsourcefile(function)
    assert path is not None
    name = function.__name__
    found = [
        node for node in _module(path).body if isinstance(node, ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1, name
    definition = copy.deepcopy(found[0])
    definition.decorator_list = []
    module = ast.Module(body=[definition], type_ignores=[])
    tree = ast.fix_missing_locations(_Blocking().visit(module))
    namespace: dict[str, Any] = {}
    exec(compile(tree, path, "exec"), function.__globals__, namespace)
    return namespace[name]  # type: ignore[no-any-return]
