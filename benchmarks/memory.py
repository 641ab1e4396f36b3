"""How much memory does `serve` take, at rest and after 100,000 messages? Beside bare Starlette + uvicorn.

    python benchmarks/memory.py [--messages 100000] [--rounds 3] [--json]

Resident memory of the process. At rest: it has answered one request. The messages come over 16 connections and are kept
as the default settings say, 10,000 at most; what remains is what they cost.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from side_by_side import free_port, load, median, process, resident_mb, wait_until_answers
from startup import BARE

PATH = "/ng/v1/sendsms"


def bare() -> float:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bare.py").write_text(BARE)
        port = free_port()
        with process([sys.executable, "bare.py", str(port)], cwd=folder) as server:
            wait_until_answers(port, "/livez")
            return resident_mb(server.pid)


def ours(messages: int) -> tuple[float, float]:
    """At rest, and after so many messages."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with process([sys.executable, "-m", "sandbox.cli", "serve", "--port", str(port)], cwd=folder) as server:
            wait_until_answers(port, "/livez")
            rest = resident_mb(server.pid)
            sent = 0.0
            while sent < messages:
                run = load(port, PATH, seconds=2)
                assert not run.errors
                sent += run.rate * 2
            return rest, resident_mb(server.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    floor, rest, after = [], [], []
    for _ in range(options.rounds):
        floor.append(bare())
        at_rest, later = ours(options.messages)
        rest.append(at_rest)
        after.append(later)
    found = {
        "bare_mb": round(median(floor), 1),
        "rest_mb": round(median(rest), 1),
        "ratio": round(median(rest) / median(floor), 2),
        "after_mb": round(median(after), 1),
        "growth_mb": round(median([later - first for later, first in zip(after, rest, strict=True)]), 1),
        "messages": options.messages,
    }
    if options.json:
        print(json.dumps(found))
        return
    print(f"bare Starlette + uvicorn        {found['bare_mb']:7.1f} MB")
    print(f"ninebits-sandbox serve, at rest {found['rest_mb']:7.1f} MB, {found['ratio']} of it")
    print(f"after {options.messages:>9,} messages        {found['after_mb']:7.1f} MB, {found['growth_mb']:+.1f}")


if __name__ == "__main__":
    main()
