"""The services of a running sandbox, built once in server.py and given to every route.

Nothing is done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.core.accounts import AccountCache
from sandbox.core.bus import Bus
from sandbox.core.control import Control
from sandbox.core.faults import LiveFaults
from sandbox.core.gateway import Gateway
from sandbox.core.network import Network
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.core.scheduler import Scheduler
from sandbox.core.waits import Watch
from sandbox.settings import Settings
from sandbox.store.database import Database


class Listeners:
    """How many event streams are open now."""

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    settings: Settings
    origin: Mapping[str, str]  # where a setting was written, by its name; empty if a program made the settings
    control_token: str | None  # as it is in force: from the settings, or generated because the address asks for one
    database: Database
    clock: Clock
    accounts: AccountCache
    faults: LiveFaults
    bus: Bus
    scheduler: Scheduler
    gateway: Gateway
    runner: ScenarioRunner
    network: Network
    control: Control
    watch: Watch
    listeners: Listeners
