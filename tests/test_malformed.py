"""Malformed HTTP over raw sockets: no server error, no hang, no traceback, no memory; the next good one is fine.

MALFORMED_SEED sets another seed than the usual; with the `seed/number` of a failure, that one request alone is sent.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.clock import stopwatch
from tests import malformed
from tests.conftest import PATIENCE_S
from tests.malformed import GOOD, Case, Manner
from tests.processes import serving

SEED = os.environ.get("MALFORMED_SEED", "20240102")
AT_ONCE = 24
DEADLINE_S = 0.5  # for headers and for bodies; looked after once a second
MOMENT_S = 0.1  # in which a request that is whole is answered
FLAT = 15 * 1024**2
STREAM = b"content-type: text/event-stream"
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]")


@dataclass(slots=True)
class Seen:
    """What came of the cases so far."""

    cases: int = 0
    unanswered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0


async def sent(port: int, case: Case) -> bytes:
    """What is answered to a case until the server closes. Raises TimeoutError if it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = b""
    try:
        for piece in case.pieces:
            writer.write(piece)
            await writer.drain()
        if case.manner is Manner.LEAVE:
            writer.transport.abort()
            return b""
        try:
            async with asyncio.timeout(PATIENCE_S if case.manner is Manner.STAY else MOMENT_S):
                came = await reader.read(65536)
        except TimeoutError:
            if case.manner is Manner.STAY:
                raise
        if STREAM not in came and writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            while STREAM not in came and (piece := await reader.read(65536)):  # it has no end, nor what waits behind it
                came += piece
    except (ConnectionError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
    finally:
        writer.close()
    return came


async def good(port: int) -> None:
    """A request that is fine is accepted, whatever came before it."""
    [request] = {each().written() for each in GOOD if each().target == "/ng/v1/sendsms" and each().method == "POST"}
    came = await sent(port, Case(seed="good", pieces=[request], manner=Manner.STAY))
    assert came.startswith(b"HTTP/1.1 200 "), came[:300]


async def storm(port: int, seeds: Iterator[str], seen: Seen) -> None:
    """Send the case of each seed, several at once, and a good request now and then."""

    async def client() -> None:
        for seed in seeds:
            case = malformed.case(seed)
            begun = stopwatch()
            try:
                came = await sent(port, case)
            except TimeoutError:
                raise AssertionError(told(case, "neither answered nor closed")) from None
            found = [int(status) for status in STATUS.findall(came)]
            assert all(100 <= status < 500 for status in found), told(case, f"answered {came[:600]!r}")
            seen.cases += 1
            seen.statuses.update(found[:1])
            seen.unanswered += not found
            seen.slowest_s = max(seen.slowest_s, stopwatch() - begun)
            if seen.cases % 100 == 0:
                await good(port)

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())


def told(case: Case, what: str) -> str:
    data = b"".join(case.pieces)
    return f"{what}; MALFORMED_SEED={case.seed} sends it again: {case.manner.name} {data[:500]!r} ({len(data)} bytes)"


def errors(log: str) -> Sequence[str]:
    """Lines of the log that tell of a failure of ours; a clear warning is none."""
    return [line[:2000] for line in log.splitlines() if " WARNING " not in line]


@pytest.mark.proof("T6")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read from /proc")
def test_malformed_requests_are_answered_or_closed_and_cost_nothing(
    tmp_path: Path,
    sized: Callable[[int, int], int],
    record_property: Callable[[str, object], None],
) -> None:
    number = sized(2_000, 100_000)
    seeds = iter([SEED] if "/" in SEED else [f"{SEED}/{n}" for n in range(number)])
    warm = Seen()
    seen = Seen()
    flags = {"header-deadline": DEADLINE_S, "body-deadline": DEADLINE_S, "max-messages": 300, "log-format": "text"}
    with (tmp_path / "log").open("w") as log, serving(tmp_path, flags, stderr=log.fileno()) as server:
        port = int(server.url.rpartition(":")[2])
        asyncio.run(storm(port, (f"warm-{SEED.replace('/', '-')}/{n}" for n in range(700)), warm))
        before = server.resident()
        asyncio.run(storm(port, seeds, seen))
        asyncio.run(good(port))
        grown = server.resident() - before
        assert server.get("/messages")["messages"], "the record is still there"
    assert errors((tmp_path / "log").read_text()) == []
    assert grown < FLAT, f"{grown / 1024**2:.1f} MiB more after {seen.cases} requests, seed {SEED}"
    by_class = Counter(status // 100 for status in seen.statuses.elements())
    record_property(
        "figure",
        f"{seen.cases:,} malformed requests (seed {SEED}): {by_class[4]:,} answered 4xx, {by_class[2] + by_class[3]:,} "
        f"still fine, {seen.unanswered:,} closed, none 5xx; slowest {seen.slowest_s:.1f} s; memory "
        f"{grown / 1024**2:+.1f} MiB",
    )
