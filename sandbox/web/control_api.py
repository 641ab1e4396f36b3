"""The control API under `/_sandbox/v1`, for tests in any language: the table of all its operations.

A list answers `{"<plural>": […], "next": cursor or null}`, newest first; a single thing answers itself; an error is
RFC 9457 problem details that name every wrong field at once.
"""

from collections.abc import Sequence

from starlette.routing import Route

from sandbox.web import (
    control_bench,
    control_faults,
    control_handsets,
    control_messages,
    control_records,
    control_scenarios,
    control_webhooks,
    operations,
)
from sandbox.web.operations import Operation

OPERATIONS: Sequence[Operation] = (
    *control_messages.OPERATIONS,
    *control_handsets.OPERATIONS,
    *control_webhooks.OPERATIONS,
    *control_scenarios.OPERATIONS,
    *control_faults.OPERATIONS,
    *control_records.OPERATIONS,
    *control_bench.OPERATIONS,
)


def routes() -> Sequence[Route]:
    return operations.routes(OPERATIONS)
