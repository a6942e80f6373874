"""A YAML file as a tree with the place of each part, and what is wrong with it, in sentences with places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

#: Where something is in a file: names and positions from the top.
Where = tuple[str | int, ...]

#: A file beyond this size, in bytes, is not read.
MAX_BYTES: Final = 1 << 20
#: Problems beyond these are not told: they mostly follow from the first ones.
MAX_PROBLEMS: Final = 50
#: The format itself has five levels.
_MAX_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake; ``line`` and ``column`` count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class DeclarationsError(ValueError):
    """A file of declarations cannot be used. The message tells the first problem; ``problems`` has all."""

    def __init__(self, problems: list[Problem]) -> None:
        more = len(problems) - 1
        hint = f" (and {more} more; see trueline declarations check)" if more else ""
        super().__init__(f"{problems[0]}{hint}")
        self.problems = problems


class Document:
    """The tree of one file. Raises DeclarationsError where the text is no YAML mapping.

    Anchors and aliases are refused: a file of some lines could otherwise stand for one of gigabytes.
    """

    def __init__(self, path: str, text: str) -> None:
        # Here and not above: a service without a file never loads it.
        import yaml

        self.path = path
        self.problems: list[Problem] = []
        self._marks: dict[Where, Any] = {}
        self._key_marks: dict[Where, Any] = {}
        try:
            depth = 0
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _MAX_DEPTH:  # PyYAML takes seconds for some thousand levels
                    self._fail(event.start_mark, "the file is nested too deeply")
                if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                    self._fail(event.start_mark, "anchors and aliases are not read: write the part out")
            self.root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            # The error's own text quotes the file, which may hold what does not belong there.
            problem = str(error.problem or "it cannot be parsed")
            self._fail(error.problem_mark or error.context_mark, f"the file is not valid YAML: {problem}")
        except yaml.YAMLError:
            self._fail(None, "the file is not valid YAML: it holds characters that YAML does not allow")
        if self.root is None:
            self._fail(None, "the file is empty: it begins with version: 1")

    def _fail(self, mark: Any, message: str) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise DeclarationsError([Problem(self.path, line, column, message)])

    def seen(self, where: Where, node: Any, key: Any = None) -> None:
        """Remember where a part is."""
        self._marks[where] = node.start_mark
        if key is not None:
            self._key_marks[where] = key.start_mark

    def complain(self, where: Where, message: str, *, at: Any = None, of_key: bool = False) -> None:
        """Note a mistake: at a node, else at a part that was seen, or at that part's key."""
        if at is not None:
            mark = at.start_mark
        else:
            mark = (self._key_marks if of_key else self._marks).get(where) or self._marks.get(where)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        field = written(where)
        text = f"{field}: {message}" if field else message
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.path, line, column, text))


def written(where: Where) -> str:
    """A place as people write it: ``lineage[0].sources``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def text_of(node: Any) -> str | None:
    """The text of a scalar that stands for one; None for mappings, lists, nothing and yes/no."""
    if not hasattr(node, "style") or isinstance(node.value, list):
        return None
    if node.tag.rpartition(":")[2] in ("null", "bool"):
        return None
    return str(node.value).strip()


def kind_of(node: Any) -> str:
    """What a node is, for messages."""
    if isinstance(node.value, list):
        return "a mapping" if node.tag.endswith(":map") else "a list"
    kind = node.tag.rpartition(":")[2]
    return {"null": "nothing", "bool": "yes or no", "int": "a number", "float": "a number"}.get(
        kind, "a text"
    )
