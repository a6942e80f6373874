"""Reading trueline.yaml."""

from __future__ import annotations

import dataclasses
import hashlib
import stat
from pathlib import Path

from trueline.instrumentation.declarations.checks import check
from trueline.instrumentation.declarations.document import MAX_BYTES, DeclarationsError, Document, Problem
from trueline.instrumentation.declarations.model import Declarations
from trueline.instrumentation.declarations.place import FILE_NAME
from trueline.instrumentation.declarations.schema import DECLARATIONS
from trueline.instrumentation.declarations.spec import WRONG


def load(path: Path) -> Declarations:
    """Read one file. Raises DeclarationsError with every problem in it, FileNotFoundError without a file."""
    return parse(_text(path), str(path))


def parse(text: str, path: str = FILE_NAME) -> Declarations:
    """Read the text of a file. Raises DeclarationsError with every problem in it."""
    document = Document(path, text)
    document.seen((), document.root)
    declared = DECLARATIONS.read(document, (), document.root)
    if not document.problems:  # otherwise parts are missing, and positions in lists are not the file's
        check(document, declared)
    if declared is WRONG or document.problems:
        raise DeclarationsError(sorted(document.problems, key=lambda one: (one.line, one.column)))
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    result: Declarations = dataclasses.replace(declared, path=path, content_hash=digest)
    return result


def _text(path: Path) -> str:
    def problem(message: str) -> DeclarationsError:
        return DeclarationsError([Problem(str(path), 1, 1, message)])

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise problem("this is not a file")  # a pipe would be waited for
        if status.st_size > MAX_BYTES:
            raise problem(f"the file is longer than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise problem(f"the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise problem("the file is not UTF-8 text") from None
