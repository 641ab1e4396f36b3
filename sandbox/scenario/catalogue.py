"""The scenarios that are shipped, one file each in `shipped/`; a file's stem is its scenario's name.

Their sources only. See script.py for how one is read, and what may be wrong with it.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from sandbox.system import package_files

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
