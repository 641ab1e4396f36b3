"""How fast are the pages, and how large, with 100,000 messages in the store?

    python benchmarks/pages.py [--messages 100000] [--requests 30] [--json]

Fills a database file (half of the messages are one conversation; refused calls; webhook deliveries in every state),
starts the real server on it and asks for every page over one connection that is kept alive. A time is what the client
waits, HTTP and loopback included. Ends with 1 if a page takes longer than 20 ms (median) or is larger than 100 kB.
"""

import argparse
import gzip
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from side_by_side import free_port, process, processors, wait_until_answers

sys.path.insert(0, str(Path(__file__).parent.parent))  # the tests of this checkout

from tests.plenty import SCENARIO, fill, pages

BUDGET_MS = 20.0
BUDGET_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One page: times in milliseconds, of which processor time says most on a busy machine, and its size in bytes."""

    name: str
    path: str
    median_ms: float
    p95_ms: float
    processor_ms: float | None  # of the server alone, where the system tells
    transferred: int
    unpacked: int  # what the browser makes of it

    @property
    def broken(self) -> Sequence[str]:
        """The budgets that it breaks, in words."""
        return [
            *([f"over {BUDGET_MS:.0f} ms"] if self.median_ms > BUDGET_MS else []),
            *([f"over {BUDGET_BYTES // 1000} kB"] if self.transferred > BUDGET_BYTES else []),
        ]


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("GET", path, headers={"Accept-Encoding": "gzip, deflate"})  # as every browser does
    answer = connection.getresponse()
    return answer, answer.read()


def processor_ms(pid: int) -> float | None:
    """What all threads of a process have used so far."""
    try:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6
    except OSError:
        return None


def measure(connection: http.client.HTTPConnection, server: int, name: str, path: str, times: int) -> Measured | None:
    """None if there is no such page."""
    took = []
    begun: float | None = None
    for number in range(times + 1):
        if number == 1:
            begun = processor_ms(server)
        began = time.perf_counter()
        answer, body = ask(connection, path)
        took.append((time.perf_counter() - began) * 1000)
        if answer.status == 303:
            return measure(connection, server, name, answer.headers["location"], times)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise SystemExit(f"{path} is answered {answer.status}.")
    ended = processor_ms(server)
    took = sorted(took[1:])  # the first one warms up
    return Measured(
        name=name,
        path=path,
        median_ms=round(statistics.median(took), 2),
        processor_ms=None if begun is None or ended is None else round((ended - begun) / times, 2),
        p95_ms=round(took[round(0.95 * (len(took) - 1))], 2),
        transferred=len(body),
        unpacked=len(gzip.decompress(body)) if answer.headers["content-encoding"] == "gzip" else len(body),
    )


def start_run(connection: http.client.HTTPConnection) -> None:
    body = json.dumps({"msisdn": "2348099999999"})
    connection.request("POST", f"/_sandbox/v1/scenarios/{SCENARIO}/runs", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 201:
        raise SystemExit(f"The scenario {SCENARIO} could not be started: {answer.status}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server_cpu, _ = processors()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plenty.db")
        there = fill(file, options.messages, time.time_ns() // 1_000_000)
        port, limit = free_port(), str(options.messages * 10)
        command = [sys.executable, "-m", "sandbox.cli", "serve", "--port", str(port), "--db", str(file)]
        with process([*command, "--max-messages", limit], cpu=server_cpu, cwd=folder) as server:
            wait_until_answers(port, "/readyz")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            start_run(connection)
            found = [measure(connection, server.pid, name, path, options.requests) for name, path in pages(there)]
            connection.close()
    rows = [each for each in found if each is not None]
    if options.json:
        made = [
            {**{key: getattr(row, key) for key in Measured.__dataclass_fields__}, "broken": row.broken} for row in rows
        ]
        print(json.dumps({"messages": options.messages, "budget_ms": BUDGET_MS, "rows": made}))
    else:
        print(f"{there.messages:,} messages, {there.conversations:,} conversations, {there.refusals:,} refused calls,")
        print(f"{there.deliveries:,} webhook deliveries; {options.requests} requests each\n")
        print(f"{'':<34}{'median ms':>10}{'p95 ms':>9}{'cpu ms':>9}{'kB':>8}{'unpacked':>10}")
        for row in rows:
            size = row.transferred / 1000
            print(
                f"{row.name:<34}{row.median_ms:>10.1f}{row.p95_ms:>9.1f}{row.processor_ms or 0:>9.1f}{size:>8.1f}"
                f"{row.unpacked / 1000:>10.1f}  {', '.join(row.broken)}"
            )
    sys.exit(1 if any(row.broken for row in rows) else 0)


if __name__ == "__main__":
    main()
