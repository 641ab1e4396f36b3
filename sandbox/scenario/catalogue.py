"""The scenarios that are shipped, one file each in `shipped/`, and the reading of sources that come again and again.

A file's stem is its scenario's name. See script.py, which is imported with the first that is read, for what a source
says and what is wrong with it.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from sandbox.scenario.steps import Scenario
from sandbox.system import package_files

if TYPE_CHECKING:
    from sandbox.scenario.script import SourceError

_NAMES = (
    "dropped-connection",
    "duplicate-webhook",
    "gateway-401",
    "gateway-429",
    "gateway-503-then-recovery",
    "handset-starts",
    "happy-survey",
    "late-reply",
    "long-ucs2-reply",
    "messy-human-input",
    "opt-out",
    "plus-and-no-plus",
    "ported-number",
    "reordered-replies",
    "silence",
    "slow-gateway",
    "webhook-outage-and-recovery",
    "webhook-rejected",
    "wrong-then-right-answer",
)


@cache
def built_in() -> Mapping[str, str]:
    """Name -> YAML source, in alphabetical order. Read at the first call, and then kept."""
    return MappingProxyType({name: package_files.text(f"scenario/shipped/{name}.yaml") for name in _NAMES})


@lru_cache(maxsize=64)
def read(source: str) -> "Scenario | tuple[SourceError, ...]":
    """As `script.read`; each source is read once."""
    from sandbox.scenario import script  # brings a YAML parser along, which a start can do without

    return script.read(source)
