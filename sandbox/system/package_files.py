"""The files that come with the package, read by the loader of its modules.

That works even where a test has replaced the file system. Folders cannot be listed that way: callers know the name.
"""

import os
from importlib.machinery import SourceFileLoader

_FOLDER = os.path.dirname(os.path.dirname(__file__))  # the package's own
_loader = SourceFileLoader(__name__, __file__)  # that of the package may be pytest's, which opens files as others do


def read(path: str) -> bytes:
    """The file at a path within the package, with `/`. Raises OSError if there is none."""
    return _loader.get_data(f"{_FOLDER}/{path}")


def text(path: str) -> str:
    """The same, decoded."""
    return read(path).decode()
