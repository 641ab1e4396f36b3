"""The scenarios that are shipped, one file each in `shipped/`; a file's stem is its scenario's name.

Their sources only: reading one is script.py's affair, and so is complaining about it.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_SUFFIX = ".yaml"


@cache
def built_in() -> Mapping[str, str]:
    """Name -> YAML source, in alphabetical order. Read at the first call, and then kept."""
    shipped = files("sandbox.scenario").joinpath("shipped")
    found = sorted((each.name, each) for each in shipped.iterdir() if each.name.endswith(_SUFFIX))
    return MappingProxyType({name.removesuffix(_SUFFIX): each.read_text(encoding="utf-8") for name, each in found})
