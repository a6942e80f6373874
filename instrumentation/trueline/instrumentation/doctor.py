"""Checks of the environment in which a service runs: releases, variables, secret, declarations, receiver.

Run it where the service runs, with the service's variables. It imports nothing of the service, needs nothing
beyond the base installation, and prints no secret. Its exit status says the worst of what it found: 0 all is
well, 1 something weakens what can be seen, 2 nothing can be seen (or the command was wrong).
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from trueline.instrumentation import doctor_others, doctor_receiver, doctor_releases, doctor_variables


class Level(IntEnum):
    """How bad it is; the greatest one is the exit status."""

    OK = 0
    WEAK = 1
    BROKEN = 2


@dataclass(frozen=True, slots=True)
class Remark:
    """What one check found, in a sentence, and the way out where there is something to mend."""

    level: Level
    sentence: str
    way_out: str = ""


#: Yields (level, sentence, way out) for what it finds.
Check = Callable[[Mapping[str, str]], Iterator[tuple[int, str, str]]]

#: In the order of the report. Those behind the line need the network.
CHECKS: Final[dict[str, Check]] = {
    "releases": doctor_releases.check,
    "switch": doctor_variables.check_switch,
    "settings": doctor_variables.check_settings,
    "names": doctor_variables.check_names,
    "identities": doctor_variables.check_secret,
    "sampling": doctor_variables.check_sampling,
    "zero-code": doctor_others.check_zero_code,
    "requests": doctor_others.check_entries,
    "models": doctor_others.check_models,
}
NETWORK_CHECKS: Final[dict[str, Check]] = {"receiver": doctor_receiver.check}
_HEADS: Final = {Level.OK: "ok  ", Level.WEAK: "weak", Level.BROKEN: "BAD "}


def examine(
    environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> Iterator[tuple[str, Remark]]:
    """Every remark with the title of its check. A check that fails itself is a remark too."""
    for title, check in {**CHECKS, **({} if offline else NETWORK_CHECKS)}.items():
        try:
            for level, sentence, way_out in check(environ):
                yield title, Remark(Level(level), sentence, way_out)
        except Exception as error:
            # Its text may hold anything, a header or a URL with a password among it.
            yield (
                title,
                Remark(Level.WEAK, f"could not be checked ({type(error).__name__})", "Please report it."),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m trueline.instrumentation",
        description="Checks whether Trueline can do its work in this environment. Exit status: 0 all is "
        "well, 1 something weakens what can be seen, 2 nothing can be seen.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="check this environment")
    doctor.add_argument("--offline", action="store_true", help="do not ask the receiver")
    asked = parser.parse_args(arguments)
    worst = Level.OK
    # What it would log is said here, once.
    logging.getLogger("trueline").addHandler(logging.NullHandler())
    logging.getLogger("trueline").propagate = False
    for title, remark in examine(offline=asked.offline):
        worst = max(worst, remark.level)
        print(f"{_HEADS[remark.level]}  {title}: {remark.sentence}")
        if remark.way_out:
            print(f"      {remark.way_out}")
    return int(worst)
