"""The rules that follow from the texts of files, with a memory: what was good stays in force. No I/O.

    book = RuleBook()
    rules = book.update({Path("env_split.yaml"): text, ...})

A file that cannot be used costs nothing but itself: the others load, and if it was good before, its last good
version goes on. A file that cannot be read for the moment counts as unchanged. Only a file that is gone takes
its rule along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_document import Problem, RuleFileError, hint
from trueline.monitor.engine.rule_file import OverrideFile, overridden, parse

_KEPT: Final = " (the version loaded before stays in force)"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules that can run, ordered by id, and the problems of files that cannot be used."""

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]

    @property
    def enabled(self) -> tuple[Rule, ...]:
        """Those that are on: stable ones, unless switched off, and what was switched on."""
        return tuple(rule for rule in self.rules if rule.enabled)

    def get(self, rule_id: str) -> Rule | None:
        """The rule with this id, if there is one."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids of rules, by what became of them: ``reworded`` ones find what they found before."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.reworded)


def changes(before: Sequence[Rule], after: Sequence[Rule]) -> Changes:
    """What became of the rules; give the enabled ones to see those switched on as added."""
    old, new = {rule.id: rule for rule in before}, {rule.id: rule for rule in after}
    both = sorted(old.keys() & new.keys())
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(one for one in both if old[one].revision != new[one].revision),
        reworded=tuple(
            one
            for one in both
            if old[one].revision == new[one].revision and old[one].edition != new[one].edition
        ),
    )


@dataclass(slots=True)
class _File:
    """What is known of one file: its last good content, and what is wrong with the text it has now."""

    digest: str = ""
    good: Rule | OverrideFile | None = None
    problems: tuple[Problem, ...] = ()
    #: The last version of an override that fitted its rule.
    fitted: OverrideFile | None = None


class RuleBook:
    """Turns texts into rules again and again. Not safe for several threads at once."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._last = RuleSet((), ())

    def update(
        self, texts: Mapping[Path, str | Problem], others: Sequence[Problem] = (), shipped: Path | None = None
    ) -> RuleSet:
        """The rules of these files, in their order: of two rules with one id the first is taken.

        A Problem in place of a text is a file that is there and cannot be read. ``others`` are problems that
        belong to no file. ``shipped`` is the folder of shipped rules, for what is said of a second rule with
        an id of theirs. The very same RuleSet is returned while nothing has changed.
        """
        for path in self._files.keys() - texts.keys():
            del self._files[path]
        for path, text in texts.items():
            self._read(self._files.setdefault(path, _File()), path, text)
        problems = [*others, *(one for path in texts for one in self._files[path].problems)]
        rules = self._assemble([self._files[path] for path in texts], problems, shipped)
        latest = RuleSet(tuple(rules[one] for one in sorted(rules)), tuple(dict.fromkeys(problems)))
        if latest != self._last:
            self._last = latest
        return self._last

    def _read(self, file: _File, path: Path, text: str | Problem) -> None:
        if isinstance(text, Problem):
            file.digest = ""
            file.problems = (_kept(text, file),)
            return
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if digest == file.digest:
            return
        file.digest = digest
        try:
            file.good = parse(path, text)
            file.problems = ()
        except RuleFileError as error:
            file.problems = tuple(_kept(problem, file) for problem in error.problems)

    def _assemble(
        self, files: Sequence[_File], problems: list[Problem], shipped: Path | None
    ) -> dict[str, Rule]:
        rules: dict[str, Rule] = {}
        for file in files:
            if not isinstance(file.good, Rule):
                continue
            first = rules.setdefault(file.good.id, file.good)
            if first is not file.good:
                problems.append(_second(file.good, first, shipped))
        by_rule: dict[str, OverrideFile] = {}
        for file in files:
            if not isinstance(file.good, OverrideFile):
                continue
            name, document = file.good.override.override, file.good.document
            if name not in rules:
                there = hint(name, rules, f"; there are {', '.join(sorted(rules))}" if rules else "")
                problems.append(document.problem(("override",), f"there is no rule {name!r}{there}"))
            elif name in by_rule:
                said = f"rule {name} is also overridden in {by_rule[name].path}; put both into one file"
                problems.append(document.problem(("override",), said))
            else:
                by_rule[name] = file.good
                rules[name] = _fitted(rules[name], file, problems)
        return rules


def _fitted(rule: Rule, file: _File, problems: list[Problem]) -> Rule:
    """The rule as overridden: by the file as it is, else as it last fitted, else not at all."""
    assert isinstance(file.good, OverrideFile)
    try:
        changed = overridden(rule, file.good)
    except RuleFileError as error:
        if file.fitted is not None and file.fitted.override.override == rule.id:
            try:
                changed = overridden(rule, file.fitted)
            except RuleFileError:
                pass
            else:
                problems.extend(_saying(one, _KEPT) for one in error.problems)
                return changed
        problems.extend(_saying(one, " (the rule runs without it)") for one in error.problems)
        return rule
    file.fitted = file.good
    return changed


def _second(rule: Rule, first: Rule, shipped: Path | None) -> Problem:
    """Two rules with one id."""
    if shipped is not None and first.path.is_relative_to(shipped):
        way = f"to change the shipped rule write a file with `override: {rule.id}`, else choose another id"
        return Problem(rule.path, 1, 1, f"rule {rule.id} is a shipped one ({first.path}); {way}")
    return Problem(rule.path, 1, 1, f"rule {rule.id} is also in {first.path}; give one of them another id")


def _kept(problem: Problem, file: _File) -> Problem:
    return _saying(problem, _KEPT) if file.good is not None else problem


def _saying(problem: Problem, more: str) -> Problem:
    return replace(problem, message=problem.message + more)
