"""Which HTTP client should post the webhooks: POSTs per second, latency, processor time, start-up cost, memory, size.

Every figure comes from a process of its own, candidates take turns, and the table shows medians. The receiver is a bare
uvicorn ASGI echo in another process on loopback, so what differs between rows is the client alone. Candidates that are
not installed are skipped.

    python benchmarks/webhook_client.py --runs 5 --posts 5000 --in-flight 64
"""

import argparse
import asyncio
import importlib
import importlib.metadata
import importlib.util
import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # the sandbox of this checkout

Post = Callable[[str], Awaitable[int]]
Close = Callable[[], Awaitable[None]]

BODY = (
    b'{"type": "two-way sms", "telco": "mtn", "from": "2348020000000", "to": "48974", "message": "Yesterday, with my'
    b' sister", "session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)
AUTHORIZATION = "Bearer 0123456789abcdef"
HEADERS = {"Content-Type": "application/json", "Authorization": AUTHORIZATION}


# --- the candidates: each builds its client the way the sandbox would, and returns (post, close) ------------------


def poster() -> tuple[Post, Close]:
    """The sandbox's own, with its checks, its deadline and its limits."""
    client = importlib.import_module(MODULES["poster"]).Poster()

    async def post(url: str) -> int:
        return int((await client.post(url, BODY, AUTHORIZATION)).status_code)

    return post, client.close


def pyreqwest() -> tuple[Post, Close]:
    builder = importlib.import_module(MODULES["pyreqwest"]).ClientBuilder().no_proxy().follow_redirects(False)
    client = builder.gzip(False).brotli(False).zstd(False).deflate(False).default_headers(HEADERS).build()

    async def post(url: str) -> int:
        async with client.post(url).body_bytes(BODY).streamed_read_buffer_limit(0).build_streamed() as response:
            while await response.body_reader.read_chunk() is not None:
                pass
            return int(response.status)

    return post, client.close


def aiohttp() -> tuple[Post, Close]:
    module = importlib.import_module(MODULES["aiohttp"])
    session = module.ClientSession(
        connector=module.TCPConnector(limit=0, use_dns_cache=False),
        auto_decompress=False,
        cookie_jar=module.DummyCookieJar(),
        timeout=module.ClientTimeout(total=None),
        headers=HEADERS,
    )

    async def post(url: str) -> int:
        async with session.post(url, data=BODY, allow_redirects=False) as response:
            while await response.content.readany():
                pass
            return int(response.status)

    return post, session.close


def niquests() -> tuple[Post, Close]:
    session = importlib.import_module(MODULES["niquests"]).AsyncSession(pool_maxsize=256, disable_http3=True)
    session.trust_env = False

    async def post(url: str) -> int:
        return int((await session.post(url, data=BODY, headers=HEADERS, allow_redirects=False)).status_code)

    return post, session.close


CANDIDATES: dict[str, Callable[[], tuple[Post, Close]]] = {
    f.__name__: f for f in (poster, pyreqwest, aiohttp, niquests)
}
MODULES = {
    "poster": "sandbox.webhooks.poster",
    "pyreqwest": "pyreqwest.client",
    "aiohttp": "aiohttp",
    "niquests": "niquests",
}
DISTRIBUTIONS = {"poster": "httptools"}  # which uvicorn needs as well, so that the poster adds nothing


# --- one measurement, in a process of its own ---------------------------------------------------------------------


def resident_mb() -> float:
    """The most memory this process has held, in MB (ru_maxrss is in KiB on Linux, in bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def measure(name: str, url: str, posts: int, in_flight: int) -> dict[str, float]:
    import uvloop

    for had_anyway in ("ssl", "uvicorn", "sandbox.model", "sandbox.clock"):  # the server has these: no cost of a client
        importlib.import_module(had_anyway)
    before_mb = resident_mb()
    start = time.perf_counter()
    importlib.import_module(MODULES[name])
    figures = {"import_ms": (time.perf_counter() - start) * 1e3}

    async def main() -> None:
        start = time.perf_counter()
        post, close = CANDIDATES[name]()
        figures["build_ms"] = (time.perf_counter() - start) * 1e3
        assert await post(url) == 200
        figures["first_ms"] = (time.perf_counter() - start) * 1e3

        async def worker(count: int, into: list[float]) -> None:
            for _ in range(count):
                begun = time.perf_counter()
                assert await post(url) == 200
                into.append(time.perf_counter() - begun)

        async def burst(count: int) -> list[float]:
            durations: list[float] = []
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight):
                    group.create_task(worker(count // in_flight, durations))
            return durations

        await burst(in_flight * 4)  # connections are made, code is warm
        cpu, start = time.process_time(), time.perf_counter()
        durations = sorted(await burst(posts))
        elapsed = time.perf_counter() - start
        figures["posts_per_s"] = len(durations) / elapsed
        figures["cpu_us"] = (time.process_time() - cpu) / len(durations) * 1e6
        figures["p50_ms"] = durations[len(durations) // 2] * 1e3
        figures["p99_ms"] = durations[len(durations) * 99 // 100] * 1e3
        figures["memory_mb"] = resident_mb() - before_mb
        await close()

    uvloop.run(main())
    return figures


# --- the receiver -------------------------------------------------------------------------------------------------


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, answer 200 with two bytes of JSON."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def serve_echo() -> None:
    """Listen on a free port of loopback, say which on stdout, serve until killed."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(echo, lifespan="off", access_log=False, log_level="critical", loop="uvloop")
    uvicorn.Server(config).run(sockets=[listener])


# --- the table ----------------------------------------------------------------------------------------------------


def installed_mb(name: str) -> tuple[float, int]:
    """Size on disk of a distribution with all it requires, and how many distributions that is."""
    wanted, seen, size = [name], set[str](), 0
    while wanted:
        each = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if each in seen:
            continue
        try:
            distribution = importlib.metadata.distribution(each)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on other platforms only
        seen.add(each)
        for file in distribution.files or ():
            path = file.locate()
            if path.is_file():  # type: ignore[attr-defined]
                size += path.stat().st_size  # type: ignore[attr-defined]
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                wanted.append(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    return size / (1 << 20), len(seen)


COLUMNS = ("posts_per_s", "p50_ms", "p99_ms", "cpu_us", "import_ms", "build_ms", "first_ms", "memory_mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, choices=range(1, 21), metavar="1..20")
    parser.add_argument("--posts", type=int, default=5000, help="POSTs per run and candidate, at most 100000")
    parser.add_argument("--in-flight", type=int, default=64, choices=range(1, 513), metavar="1..512")
    parser.add_argument("--only", nargs="*", choices=sorted(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--child", help=argparse.SUPPRESS)  # "echo", or "<candidate> <url>"
    args = parser.parse_args()
    posts = max(args.in_flight, min(args.posts, 100_000))
    if args.child == "echo":
        serve_echo()
    elif args.child:
        name, _, url = args.child.partition(" ")
        print(json.dumps(measure(name, url, posts, args.in_flight)))
    else:
        compare(args.only, args.runs, posts, args.in_flight)


def compare(wanted: list[str], runs: int, posts: int, in_flight: int) -> None:
    """Let the candidates take turns, and print the table."""
    names = [name for name in wanted if importlib.util.find_spec(MODULES[name].partition(".")[0])]
    for name in sorted(set(wanted) - set(names)):
        print(f"{name}: not installed, skipped")
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    common = [sys.executable, __file__, "--posts", str(posts), "--in-flight", str(in_flight), "--child"]
    with subprocess.Popen([*common, "echo"], stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            url = f"http://127.0.0.1:{int(receiver.stdout.readline())}/webhook"
            for run in range(runs):
                for name in names if run % 2 == 0 else reversed(names):
                    child = subprocess.run(
                        [*common, f"{name} {url}"], check=True, capture_output=True, text=True, timeout=300
                    )
                    results[name].append(json.loads(child.stdout))
        finally:
            receiver.kill()

    print(f"{posts} POSTs of {len(BODY)} bytes, {in_flight} in flight, medians of {runs} interleaved runs\n")
    print("| client | distribution | " + " | ".join(COLUMNS) + " | size_mb | distributions |")
    print("| --- " * (len(COLUMNS) + 4) + "|")
    for name in names:
        medians = [statistics.median(figures[column] for figures in results[name]) for column in COLUMNS]
        distribution = DISTRIBUTIONS.get(name, name)
        size_mb, count = installed_mb(distribution)
        cells = [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in (*medians, size_mb)]
        print(f"| {name} | {distribution} {importlib.metadata.version(distribution)} | {' | '.join(cells)} | {count} |")


if __name__ == "__main__":
    main()
