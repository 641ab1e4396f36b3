"""Every speed figure, beside its floor and its goal: one command, one JSON and one Markdown report.

    python benchmarks/report.py [--rounds 5] [--output FOLDER] [--only sendsms startup …]

Runs the other benchmarks one after another, which takes about a quarter of an hour, and tells on stderr how far it is.
Wants a quiet machine with two processors; wrk and the peers are used if they are there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Found = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure, what it is measured against, and whether it reaches its goal; None: nothing to measure it against."""

    figure: str
    goal: str
    measured: str
    reached: bool | None
    beside: str


def sendsms(found: Found) -> Iterator[Row]:
    rows = {row["server"]: row for row in found["rows"]}
    echo = (
        f"bare uvicorn echo {rows['echo']['rate']:,}/s, p99 {rows['echo']['p99_ms']} ms, noise {rows['echo']['noise']}"
    )
    for server, words, goal in (("file", "durable on a file", 0.40), ("memory", "in memory", 0.50)):
        row = rows[server]
        yield Row(
            figure=f"`sendsms`, {words}, {found['connections']} connections",
            goal=f"≥ {goal:.2f} of the echo",
            measured=f"{row['ratio']:.2f} ({row['rate']:,}/s, noise {row['noise']})",
            reached=row["ratio"] >= goal,
            beside=echo,
        )
    file = rows["file"]
    yield Row(
        figure="p99 of `sendsms` on a file",
        goal="≤ 3 × the echo's",
        measured=f"{file['p99_ratio']:.1f} ({file['p99_ms']} ms)",
        reached=file["p99_ratio"] <= 3,
        beside=echo,
    )


def peers(found: Found) -> Iterator[Row]:
    others = ", ".join(f"{row['server']} {row['rate']:,}/s" for row in found["rows"][2:]) or "none is installed"
    missing = f"; not installed: {', '.join(found['skipped'])}" if found["skipped"] else ""
    times = found["times_fastest_peer"]
    yield Row(
        figure="`sendsms` on a file against the fastest peer",
        goal="≥ 3 ×",
        measured="-" if times is None else f"{times:.1f} × ({found['rows'][1]['rate']:,}/s)",
        reached=None if times is None else times >= 3,
        beside=others + missing,
    )


def growth(found: Found) -> Iterator[Row]:
    empty = found["rows"][0]
    for row in found["rows"][1:]:
        yield Row(
            figure=f"`sendsms` with {row['messages']:,} messages in the store ({row['file_mb']} MB)",
            goal="rate ≥ 0.9, p99 ≤ 1.2 of the empty store's",
            measured=f"rate {row['rate_ratio']:.2f}, p99 {row['p99_ratio']:.2f} (noise {row['noise']})",
            reached=row["rate_ratio"] >= 0.9 and row["p99_ratio"] <= 1.2,
            beside=f"empty store {empty['rate']:,}/s, p99 {empty['p99_ms']} ms, noise {empty['noise']}",
        )


def round_trip(found: Found) -> Iterator[Row]:
    yield Row(
        figure="dialogue: MT, scripted reply, POST, attempt recorded",
        goal="≥ 0.25 of bare POSTs",
        measured=f"{found['ratio']:.3f} ({found['dialogues_per_s']:,}/s, noise {found['noise']})",
        reached=found["ratio"] >= 0.25,
        beside=f"the same client alone {found['bare_posts_per_s']:,}/s",
    )


def startup(found: Found) -> Iterator[Row]:
    yield Row(
        figure="cold start of `serve` to the first 200",
        goal="≤ 2.0 × bare Starlette + uvicorn",
        measured=f"{found['ratio']:.2f} ({found['sandbox_ms']:.0f} ms)",
        reached=found["ratio"] <= 2.0,
        beside=f"bare {found['bare_ms']:.0f} ms",
    )


def fixture(found: Found) -> Iterator[Row]:
    for name, words, goal in (
        ("server start", "server start after imports", 25),
        ("account", "account of a test", 2),
        ("server stop", "server stop", 20),
    ):
        ours, theirs = found["sandbox_ms"][name], found["pytest_httpserver_ms"].get(name)
        yield Row(
            figure=f"fixture: {words}",
            goal=f"≤ {goal} ms",
            measured=f"{ours:.1f} ms",
            reached=ours <= goal,
            beside="pytest-httpserver is not installed" if theirs is None else f"pytest-httpserver {theirs:.1f} ms",
        )


def memory(found: Found) -> Iterator[Row]:
    yield Row(
        figure="memory at rest",
        goal="≤ 2 × bare Starlette + uvicorn",
        measured=f"{found['ratio']:.2f} ({found['rest_mb']} MB)",
        reached=found["ratio"] <= 2,
        beside=f"bare {found['bare_mb']} MB",
    )
    yield Row(
        figure=f"memory after {found['messages']:,} messages with retention",
        goal="≤ 15 MB more than at rest",
        measured=f"{found['growth_mb']:+.1f} MB",
        reached=found["growth_mb"] <= 15,
        beside=f"at rest {found['rest_mb']} MB",
    )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A script that prints JSON, and how its figures are told."""

    script: str
    rows: Callable[[Found], Iterator[Row]]
    rounds: Callable[[int], int] = lambda rounds: rounds


BENCHMARKS = (
    Benchmark(script="sendsms", rows=sendsms),
    Benchmark(script="peers", rows=peers, rounds=lambda rounds: max(2, rounds // 2)),
    Benchmark(script="growth", rows=growth),
    Benchmark(script="round_trip", rows=round_trip),
    Benchmark(script="startup", rows=startup, rounds=lambda rounds: 3 * rounds),
    Benchmark(script="fixture", rows=fixture, rounds=lambda rounds: 3 * rounds),
    Benchmark(script="memory", rows=memory, rounds=lambda rounds: max(1, rounds // 2)),
)


def machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ())
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} × {names[0] if names else platform.machine()}, Python {platform.python_version()}"


def markdown(rows: list[Row], rounds: int) -> str:
    verdicts = {True: "yes", False: "**no**", None: "-"}
    lines = [
        f"Medians of at least {rounds} interleaved rounds on {machine()}.",
        "",
        "| figure | goal | measured | reached | beside |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.figure} | {row.goal} | {row.measured} | {verdicts[row.reached]} | {row.beside} |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="folder for report.json and report.md")
    parser.add_argument("--only", nargs="*", choices=[each.script for each in BENCHMARKS])
    options = parser.parse_args()
    found: dict[str, Found] = {}
    rows: list[Row] = []
    wanted = [each for each in BENCHMARKS if not options.only or each.script in options.only]
    for number, each in enumerate(wanted, 1):
        begun = time.perf_counter()
        print(f"{number} of {len(wanted)}: {each.script} … ", end="", file=sys.stderr, flush=True)
        command = [sys.executable, str(Path(__file__).with_name(f"{each.script}.py")), "--json"]
        ended = subprocess.run(
            [*command, "--rounds", str(each.rounds(options.rounds))], stdout=subprocess.PIPE, text=True, check=False
        )
        if ended.returncode:
            raise SystemExit(f"{each.script} failed; run it alone to see why.")
        found[each.script] = json.loads(ended.stdout)
        rows += each.rows(found[each.script])
        print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    report = markdown(rows, options.rounds)
    print(report)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "report.md").write_text(report, encoding="utf-8")
        whole = {"machine": machine(), "rounds": options.rounds, "rows": [asdict(row) for row in rows], "found": found}
        (options.output / "report.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
