"""Does `sendsms` slow down as messages pile up? Stores of 0, 1,000, 100,000 and 1,000,000 messages in the same run.

    python benchmarks/growth.py [--sizes 0,1000,100000,1000000] [--rounds 5] [--seconds 2] [--json]

Nothing is removed meanwhile. Servers take turns; a ratio is the median of the rounds' own, against the empty store.
"""

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from side_by_side import BODY, HEADERS, Run, load, median, processors, sandbox, spread

from sandbox.model import EventType
from sandbox.store import journal, messages
from sandbox.store.database import Database, Tx
from sandbox.wire.requests import SendSms, parse
from sandbox.wire.text import measure

PATH = "/ng/v1/sendsms"
BATCH = 5_000
HANDSETS = 5_000


def add(sms: SendSms, begin: int, count: int, now_ms: int, tx: Tx) -> None:
    """Messages as the gateway writes them, the call included, spread over the handsets."""
    body = json.dumps(BODY).encode()
    headers = messages.header_lines([(name.lower().encode(), value.encode()) for name, value in HEADERS.items()])
    for number in range(begin, begin + count):
        to = f"23480{number % HANDSETS:08d}"
        seq = journal.announce(tx, EventType.MESSAGE_SUBMITTED, at_ms=now_ms, account="default", msisdn=to)
        one = sms._replace(msisdn=to, session_id=f"s{number % HANDSETS}")
        submission = messages.Submission("127.0.0.1", headers, body, b'{"status": "success"}')
        messages.insert_mt(tx, seq, now_ms, "default", one, "mtn", measure(sms.text), submission)


async def fill(path: Path, size: int) -> None:
    sms = parse(json.dumps(BODY).encode(), strict=True, max_text=1600)
    assert isinstance(sms, SendSms)
    database = Database(str(path))
    database.open()
    now_ms = int(time.time() * 1000)
    for begin in range(0, size, BATCH):
        await database.write(partial(add, sms, begin, min(BATCH, size - begin), now_ms))
    await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="0,1000,100000,1000000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [int(each) for each in options.sizes.split(",")]
    server_cpu, load_cpu = processors()
    runs: dict[int, list[Run]] = {size: [] for size in sizes}
    megabytes = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {}
        for size in sizes:
            file = folder / f"{size}.db"
            asyncio.run(fill(file, size))
            megabytes[size] = round(file.stat().st_size / 1e6)
            flags = ("--db", str(file), "--max-messages", "10000000")
            ports[size] = stack.enter_context(sandbox(*flags, cpu=server_cpu))
        for port in ports.values():
            load(port, PATH, seconds=1, cpu=load_cpu)
        for number in range(options.rounds):
            for size, port in ports.items():
                run = load(port, PATH, seconds=options.seconds, cpu=load_cpu)
                runs[size].append(run)
                if not options.json:
                    print(f"round {number + 1}  {size:>9,}  {run.rate:8.0f}/s  p99 {run.p99_ms:.2f} ms", flush=True)
    empty = runs[sizes[0]]
    rows = [
        {
            "messages": size,
            "file_mb": megabytes[size],
            "rate": round(median([run.rate for run in mine])),
            "rate_ratio": round(median([run.rate / first.rate for run, first in zip(mine, empty, strict=True)]), 2),
            "p99_ms": round(median([run.p99_ms for run in mine]), 2),
            "p99_ratio": round(median([run.p99_ms / first.p99_ms for run, first in zip(mine, empty, strict=True)]), 2),
            "noise": spread([run.rate for run in mine]),
            "errors": sum(run.errors for run in mine),
        }
        for size, mine in runs.items()
    ]
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}))
        return
    print(
        f"\n{'messages':>10}{'MB':>6}{'req/s':>8}{'of empty':>10}{'p99 ms':>8}{'of empty':>10}{'noise':>7}{'errors':>8}"
    )
    for row in rows:
        print(
            f"{row['messages']:>10,}{row['file_mb']:>6}{row['rate']:>8}{row['rate_ratio']:>10}{row['p99_ms']:>8}"
            f"{row['p99_ratio']:>10}{row['noise']:>7}{row['errors']:>8}"
        )


if __name__ == "__main__":
    main()
