"""What the doors open to: the one typed object that every route gets.

Nothing is done here; server.py fills it in once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.bus import Bus
from sandbox.clock import Clock
from sandbox.config import Settings
from sandbox.control import Control
from sandbox.gateway import Gateway
from sandbox.network import Network
from sandbox.scheduler import Scheduler
from sandbox.stage import Stage
from sandbox.store.accounts import Directory
from sandbox.store.database import Database
from sandbox.store.faults import Faults
from sandbox.waiting import Watch
from sandbox.web.live import Listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    settings: Settings
    origin: Mapping[str, str]  # where a setting was written, by its name; empty if a program made the settings
    control_token: str | None  # as it is in force: from the settings, or generated because the address asks for one
    database: Database
    clock: Clock
    accounts: Directory
    faults: Faults
    bus: Bus
    scheduler: Scheduler
    gateway: Gateway
    stage: Stage
    network: Network
    control: Control
    watch: Watch
    listeners: Listeners
