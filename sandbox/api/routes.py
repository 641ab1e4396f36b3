"""The control API under `/_sandbox/v1`, for tests in any language: the table of all its operations.

A list answers `{"<plural>": […], "next": cursor or null}`, newest first; a single thing answers itself; an error is
RFC 9457 problem details that name every wrong field at once.
"""

from collections.abc import Sequence

from starlette.routing import Route

from sandbox.api import accounts, clock, events, faults, handsets, messages, operations, records, scenarios, webhooks
from sandbox.api.operations import Operation

OPERATIONS: Sequence[Operation] = (
    *messages.OPERATIONS,
    *handsets.OPERATIONS,
    *webhooks.OPERATIONS,
    *scenarios.OPERATIONS,
    *faults.OPERATIONS,
    *records.OPERATIONS,
    *accounts.OPERATIONS,
    *clock.OPERATIONS,
    *events.OPERATIONS,
)


def routes() -> Sequence[Route]:
    return operations.routes(OPERATIONS)
