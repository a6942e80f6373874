"""An application whose own tests are run: where it lives, how it is installed, how it is tested. Data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Recipe:
    """One file of ``recipes``; see any of them for an example.

    - ``url`` and ``commit``: where the source is; ``python``: releases of Python that it runs on, as pip
      writes them, for the reader.
    - ``lock``: a poetry.lock or uv.lock whose versions are used. ``install``: arguments of ``pip install``,
      one list a call, run in the source's folder; ``prepare``: commands run before each run of the tests.
    - ``folder``: where pytest is run; ``tests``: its arguments; ``environment``: variables; ``path``:
      folders of the source on PYTHONPATH. In ``prepare`` and ``environment``, {host}, {port}, {user},
      {password}, {database} and {url} are the PostgreSQL database's, {work} is the copy of the source and
      {python} the environment's interpreter.
    - ``database``: ``sqlite`` or ``postgresql``. ``timeout``: seconds of one run.
    - ``identities``: arguments of IdentityConfig of the configured run; ``setup``: a file beside the recipe
      with what a user would have written besides, "" for none.
    - ``people``: the tables whose rows are people, or groups of people that the application keeps apart
      (tenants). ``holding``: columns that hold one of them without a declared foreign key, ``unowned``:
      foreign keys that lead to one and do not say whose the row is, both as ``table.column`` with the
      reason. From these and the declared schema follows which tables belong to somebody (``belonging.py``).
    - ``rest``: why writes carry no identity: a table's name, or the whole text of a statement, with the
      reason. It is printed and counts for nothing.
    """

    name: str
    title: str
    url: str
    commit: str
    python: str
    framework: str
    database: str
    install: list[list[str]]
    tests: list[str]
    lock: str = ""
    prepare: list[list[str]] = field(default_factory=list)
    folder: str = "."
    path: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    timeout: int = 1800
    identities: dict[str, Any] = field(default_factory=dict)
    setup: str = ""
    people: list[str] = field(default_factory=list)
    holding: dict[str, str] = field(default_factory=dict)
    unowned: dict[str, str] = field(default_factory=dict)
    rest: dict[str, str] = field(default_factory=dict)


def declared_rows(recipe: Recipe) -> list[str]:
    """Tables whose own key the configuration declares to be an identity: with it they are somebody's."""
    columns = recipe.identities.get("columns", {})
    return sorted(name.removesuffix(".id").lower() for name in columns if name.endswith(".id"))


def names() -> list[str]:
    """The applications that there are recipes for."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name: str) -> Recipe:
    """Read the recipe of that name; ValueError names what is wrong with it."""
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"there is no recipe for {name!r}: there are {', '.join(names())}")
    try:
        recipe = Recipe(name=name, **tomllib.loads(path.read_text(encoding="utf-8")))
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None
    if recipe.database not in DATABASES:
        raise ValueError(f"{path}: database is {recipe.database!r}, not one of {', '.join(DATABASES)}")
    return recipe


def constraints(lock: str) -> list[str]:
    """What pip takes as constraints, from the text of a poetry.lock or uv.lock.

    A package that a lock holds in several versions, for several releases of Python, is left to pip.
    """
    versions: dict[str, set[str]] = {}
    for package in tomllib.loads(lock).get("package", []):
        source = package.get("source", {})
        if "version" in package and not {"editable", "virtual", "directory", "git"} & set(source):
            versions.setdefault(package["name"], set()).add(package["version"])
    return [f"{name}=={next(iter(of))}" for name, of in sorted(versions.items()) if len(of) == 1]
