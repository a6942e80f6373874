"""The installed distribution's version, read once."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__: str = version("trueline")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
