"""The source of an application and an environment of its own to run its tests in."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from applications.recipe import Recipe, constraints

ROOT = Path(__file__).parents[2]
#: Not copied: they are large, and no test of the server's reads them.
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "__pycache__", ".pytest_cache", ".mypy_cache"
)
Say = Callable[[str], None]


class Environment:
    """``folder`` holds the source (unless another is given), a copy of it to run in, and a venv."""

    def __init__(self, recipe: Recipe, folder: Path, source: Path | None, python: str = "") -> None:
        self._recipe = recipe
        self._folder = folder
        self._given = source
        self._base = python or sys.executable
        self.work = folder / "work"
        self.python = folder / "venv" / "bin" / "python"

    def make(self, say: Say) -> None:
        """Clone the source and install the application; what is there already is kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.fresh_copy(say)
        stamp, wanted = self._folder / "installed", self._key()
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        venv = self._folder / "venv"
        say(f"making {venv} and installing the application ...")
        shutil.rmtree(venv, ignore_errors=True)
        _run([self._base, "-m", "venv", str(venv)], self._folder)
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        limits: list[str] = []
        if self._recipe.lock:
            path = self._folder / "constraints.txt"
            path.write_text("\n".join(constraints((self.work / self._recipe.lock).read_text())) + "\n")
            limits = ["--constraint", str(path)]
        for arguments in self._recipe.install:
            _run([*pip, *limits, *arguments], self.work)
        # Afterwards, so that the application has the versions that it asks for wherever both agree.
        _run([*pip, *_own_dependencies()], self.work)
        stamp.write_text(wanted)

    def fresh_copy(self, say: Say = lambda line: None) -> None:
        """Make the copy anew: a run leaves nothing behind for the next."""
        source = self._source(say)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(source, self.work, ignore=_NOT_COPIED, symlinks=True)

    def _source(self, say: Say) -> Path:
        if self._given is not None:
            return self._given
        source = self._folder / "source"
        if not (source / ".git").is_dir():
            say(f"cloning {self._recipe.url} ...")
            shutil.rmtree(source, ignore_errors=True)
            _run(
                [
                    "git",
                    "clone",
                    "--quiet",
                    "--filter=blob:none",
                    "--no-checkout",
                    self._recipe.url,
                    str(source),
                ]
            )
        _run(["git", "-C", str(source), "checkout", "--quiet", self._recipe.commit])
        return source

    def _key(self) -> str:
        recipe = self._recipe
        parts = [recipe.commit, recipe.install, recipe.lock, self._base, _own_dependencies()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def version_of(self, package: str) -> str:
        """Of a package in the environment."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return _run([str(self.python), "-c", code]).strip()

    def python_version(self) -> str:
        """Of the environment."""
        return _run([str(self.python), "-c", "import platform; print(platform.python_version())"]).strip()


def _own_dependencies() -> list[str]:
    """What Trueline's instrumentation needs; SQLAlchemy stays the application's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [one for one in project["dependencies"] if not one.startswith("sqlalchemy")]


def _run(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout
