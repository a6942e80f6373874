"""The declarations as a service uses them. Whatever is wrong costs the declarations, never the service."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trueline.instrumentation.declarations import place
from trueline.instrumentation.guard import report
from trueline.instrumentation.identity import Domain, IdentityConfig

if TYPE_CHECKING:
    from trueline.instrumentation.declarations.model import Declarations, KeySource

logger = logging.getLogger("trueline")
_WAY_ON: Final = "it goes on without declarations"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found: the declarations, or in one sentence why there are none; both empty: no file."""

    declarations: Declarations | None = None
    problem: str = ""


def load_for_service(
    config: str | os.PathLike[str] | None, environ: Mapping[str, str] = os.environ
) -> Loaded:
    """Read the file, if there is one. Never raises; one log sentence says what is wrong."""
    try:
        path, named = place.find(config, environ)
        if path.exists():
            return _read(path)
        if not named:
            return Loaded()
        return _without(f"there is no file {path} ({'config' if config is not None else place.VARIABLE})")
    except Exception as error:
        report("declarations.load", error)
        return _without("the declarations cannot be read")


def _read(path: Path) -> Loaded:
    # Here and not above: a service without a file never loads it.
    from trueline.instrumentation.declarations.document import DeclarationsError
    from trueline.instrumentation.declarations.reading import load

    try:
        return Loaded(load(path))
    except DeclarationsError as error:
        return _without(str(error))
    except ImportError:
        return _without(f"{path} cannot be read without PyYAML (pip install pyyaml)")


def declared_identities(declared: Declarations | None, environ: Mapping[str, str]) -> IdentityConfig:
    """What the file says about identities; the defaults where there is none. Never raises."""
    if declared is None:
        return IdentityConfig()
    try:
        return identity_config(declared, environ)
    except Exception as error:
        logger.warning("trueline: %s: %s; it goes on with the default identities", declared.path, error)
        return IdentityConfig()


def identity_config(declared: Declarations, environ: Mapping[str, str] = os.environ) -> IdentityConfig:
    """What the file says about identities. A key or function that cannot be had is left out, and said so."""
    keys = {}
    for name, source in declared.hmac_keys.items():
        key = _key(source, environ)
        if key:
            keys[name] = key
        else:
            place = f"variable {source.env} is" if source.env else f"file {source.file} is missing or"
            logger.warning("trueline: the key %s is left out: the %s empty", name, place)
    return IdentityConfig(
        columns={name: column.domain for name, column in declared.columns.items()},
        domains={name: Domain(plain=domain.plain) for name, domain in declared.domains.items()},
        derivations=dict(declared.derivations),
        resolver=dict(declared.resolver) or None,
        exclude=declared.exclude,
        hmac_keys=keys,
        uuid_namespaces=dict(declared.uuid_namespaces),
    )


def names_by_place(declared: Declarations) -> dict[str, str]:
    """Names of databases by place and by fingerprint."""
    return {place: name for name, places in declared.databases.items() for place in places}


def _key(source: KeySource, environ: Mapping[str, str]) -> str:
    if source.env:
        return environ.get(source.env, "")
    try:
        return Path(source.file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _without(problem: str) -> Loaded:
    logger.warning("trueline: %s; %s", problem, _WAY_ON)
    return Loaded(None, problem)
