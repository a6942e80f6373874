"""What the owner of an application declares once, in one file that services and monitor both read."""

from trueline.instrumentation.declarations.document import DeclarationsError, Problem
from trueline.instrumentation.declarations.load import FILE_NAME, VARIABLE, find, load, parse
from trueline.instrumentation.declarations.model import Declarations

__all__ = [
    "FILE_NAME",
    "VARIABLE",
    "Declarations",
    "DeclarationsError",
    "Problem",
    "find",
    "load",
    "parse",
]
