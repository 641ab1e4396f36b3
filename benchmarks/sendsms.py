"""How fast is `sendsms`, durable before its answer? Beside a bare uvicorn ASGI echo in the same run.

    python benchmarks/sendsms.py [--rounds 5] [--seconds 3] [--connections 16] [--json]

The servers run on one processor and the load on another, in turn, round by round. A figure is a median over the
rounds; a ratio is the median of the rounds' own ratios, so that a machine that slows down slows both.
"""

import argparse
import json

from side_by_side import Run, echo, load, median, processors, sandbox, spread

PATH = "/ng/v1/sendsms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server_cpu, load_cpu = processors()
    runs: dict[str, list[Run]] = {"echo": [], "file": [], "memory": []}
    with (
        echo(server_cpu) as bare,
        sandbox(cpu=server_cpu) as file,
        sandbox("--db", ":memory:", cpu=server_cpu) as memory,
    ):
        ports = {"echo": bare, "file": file, "memory": memory}
        for port in ports.values():  # warm up
            load(port, PATH, connections=options.connections, seconds=1, cpu=load_cpu)
        for number in range(options.rounds):
            for name, port in ports.items():
                run = load(port, PATH, connections=options.connections, seconds=options.seconds, cpu=load_cpu)
                runs[name].append(run)
                if not options.json:
                    print(
                        f"round {number + 1}  {name:<7} {run.rate:8.0f}/s  p99 {run.p99_ms:.2f} ms  errors {run.errors}"
                    )
    rows = []
    for name, mine in runs.items():
        floor = runs["echo"]
        rows.append(
            {
                "server": name,
                "rate": round(median([run.rate for run in mine])),
                "ratio": round(median([run.rate / bare.rate for run, bare in zip(mine, floor, strict=True)]), 3),
                "p50_ms": round(median([run.p50_ms for run in mine]), 3),
                "p99_ms": round(median([run.p99_ms for run in mine]), 3),
                "p99_ratio": round(
                    median([run.p99_ms / bare.p99_ms for run, bare in zip(mine, floor, strict=True)]), 2
                ),
                "noise": spread([run.rate for run in mine]),
                "errors": sum(run.errors for run in mine),
            }
        )
    if options.json:
        print(json.dumps({"rounds": options.rounds, "connections": options.connections, "rows": rows}))
        return
    print(f"\n{'':<8}{'req/s':>8}{'of echo':>9}{'p50 ms':>8}{'p99 ms':>8}{'of echo':>9}{'noise':>7}{'errors':>8}")
    for row in rows:
        print(
            f"{row['server']:<8}{row['rate']:>8}{row['ratio']:>9}{row['p50_ms']:>8}{row['p99_ms']:>8}"
            f"{row['p99_ratio']:>9}{row['noise']:>7}{row['errors']:>8}"
        )


if __name__ == "__main__":
    main()
