"""What the benchmarks share: servers as processes of their own, load from another processor, medians and noise.

Everything stays on 127.0.0.1, is bounded in time, and ends the processes that it started, by their id.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BODY = {
    "from": "48974",
    "to": "2348020000000",
    "message": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "sent_date": "2024-01-02T23:50:37.000000Z",
}
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sandbox-token"}

ECHO = """
async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
"""The floor: a bare ASGI application that answers what it was sent."""

WRK = """
local turn = 0
request = function()
  turn = turn + 1
  local to = string.format("23480%08d", turn % 1000)
  local body = string.gsub(wrk.body, "2348020000000", to)
  return wrk.format("POST", nil, nil, body)
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Run:
    """One run of load: requests a second, and the median and 99th percentile in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Without PYTHONDONTWRITEBYTECODE, or every start would compile anew, and without the sandbox's own settings."""
    unwanted = ("PYTHONDONTWRITEBYTECODE",)
    return {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith("NINEBITS_SANDBOX_")
    }


@contextmanager
def process(
    command: Sequence[str], *, cpu: int | None = None, cwd: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ended with its children by their group's id when the block ends."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    started = subprocess.Popen(
        [*pin, *command],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # some start another, and leave it behind
    )
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def wait_until_answers(port: int, path: str = "/", *, within_s: float = 20) -> None:
    """Return when the server answers HTTP at all."""
    end = time.perf_counter() + within_s
    while time.perf_counter() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()
            return
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"Nothing answers on port {port}.")


def resident_mb(pid: int) -> float:
    """Memory of a process and its children, in MB."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        except OSError:  # it has ended
            continue
        if folder.name == str(pid) or fields["PPid"].strip() == str(pid):
            total += int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
    return total


@contextmanager
def echo(cpu: int | None = None) -> Iterator[int]:
    """A bare uvicorn that serves ECHO; yields its port."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bare_echo.py").write_text(ECHO)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "bare_echo:app", "--port", str(port), "--no-access-log"]
        with process([*command, "--log-level", "warning", "--app-dir", folder], cpu=cpu):
            wait_until_answers(port)
            yield port


@contextmanager
def sandbox(*flags: str, cpu: int | None = None) -> Iterator[int]:
    """`ninebits-sandbox serve` in an empty folder; yields its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "sandbox.cli", "serve", "--port", str(port), *flags]
        with process(command, cpu=cpu, cwd=folder):
            wait_until_answers(port, "/readyz")
            yield port


def processors() -> tuple[int | None, int | None]:
    """One processor for the server and another for the load, where there are two."""
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)


def load(
    port: int,
    path: str,
    *,
    connections: int = 16,
    seconds: float = 3,
    cpu: int | None = None,
    body: str = json.dumps(BODY),
    headers: Mapping[str, str] = HEADERS,
) -> Run:
    """Load with wrk if it is installed, else with a client of our own in another process, which knows one body only."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    if shutil.which("wrk") is None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("load.py")),
            str(port),
            path,
            str(connections),
            str(seconds),
        ]
        found = subprocess.run([*pin, *command], capture_output=True, text=True, check=True)
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            lines = "".join(
                f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in headers.items()
            )
            script.write(f"wrk.method = 'POST'\nwrk.body = [[{body}]]\n{lines}{WRK}")
            script.flush()
            command = [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds:g}s",
                "-s",
                script.name,
                f"http://127.0.0.1:{port}{path}",
            ]
            found = subprocess.run([*pin, *command], capture_output=True, text=True, check=True)
    result = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", found.stdout)
    if result is None:
        raise SystemExit(f"The load said nothing: {found.stdout}{found.stderr}")
    requests, duration_us, p50_us, p99_us, errors = map(int, result.groups())
    return Run(requests / (duration_us / 1e6), p50_us / 1000, p99_us / 1000, errors)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """The machine's noise: the range of the values, in percent of their median."""
    return f"{(max(values) - min(values)) / median(values) * 100:.0f} %"
