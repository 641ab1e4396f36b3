"""Reading scenarios again and again: each source is parsed once, and YAML is imported at the first.

See script.py for what a source says, and what may be wrong with it.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from sandbox.scenario.steps import Scenario

if TYPE_CHECKING:
    from sandbox.scenario.script import Complaint


@lru_cache(maxsize=64)
def read(source: str) -> "Scenario | tuple[Complaint, ...]":
    """As `script.read`."""
    from sandbox.scenario import script  # brings a YAML parser along, which a start can do without

    return script.read(source)
