"""How fast do other mock servers take a message? Beside the sandbox, durable, and the bare echo in the same run.

    python benchmarks/peers.py [--rounds 3] [--seconds 3] [--json]

Peers that are not on the PATH are skipped. They answer a fixed JSON or record the call, each as its users would set it
up; none of them validates as much, and none writes to a disk before it answers.

    npm install json-server @stoplight/prism-cli @mockoon/cli wiremock    put node_modules/.bin on the PATH; Java, too
    pip install 'moto[server]' pytest-httpserver                          in any environment whose bin is on the PATH
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from side_by_side import (
    BODY,
    HEADERS,
    Run,
    echo,
    free_port,
    load,
    median,
    process,
    processors,
    sandbox,
    spread,
    wait_until_answers,
)

PATH = "/ng/v1/sendsms"
ANSWER = {"status": "accepted"}

OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "sendsms", "version": "1"},
    "paths": {
        PATH: {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": list(BODY),
                                "properties": {name: {"type": "string"} for name in BODY},
                            }
                        }
                    },
                },
                "responses": {"200": {"description": "", "content": {"application/json": {"example": ANSWER}}}},
            }
        }
    },
}

MOCKOON = {
    "uuid": "d7b3f6a0-0000-4000-8000-000000000001",
    "lastMigration": 33,
    "name": "sendsms",
    "port": 3000,
    "hostname": "127.0.0.1",
    "endpointPrefix": "",
    "latency": 0,
    "routes": [
        {
            "uuid": "d7b3f6a0-0000-4000-8000-000000000002",
            "type": "http",
            "documentation": "",
            "method": "post",
            "endpoint": PATH.removeprefix("/"),
            "responseMode": None,
            "streamingMode": None,
            "streamingInterval": 0,
            "responses": [
                {
                    "uuid": "d7b3f6a0-0000-4000-8000-000000000003",
                    "body": json.dumps(ANSWER),
                    "latency": 0,
                    "statusCode": 200,
                    "label": "",
                    "headers": [{"key": "Content-Type", "value": "application/json"}],
                    "bodyType": "INLINE",
                    "filePath": "",
                    "databucketID": "",
                    "sendFileAsBody": False,
                    "rules": [],
                    "rulesOperator": "OR",
                    "disableTemplating": True,
                    "fallbackTo404": False,
                    "default": True,
                    "crudKey": "id",
                    "callbacks": [],
                }
            ],
        }
    ],
    "folders": [],
    "rootChildren": [{"type": "route", "uuid": "d7b3f6a0-0000-4000-8000-000000000002"}],
    "proxyMode": False,
    "proxyHost": "",
    "proxyRemovePrefix": False,
    "tlsOptions": {
        "enabled": False,
        "type": "CERT",
        "pfxPath": "",
        "certPath": "",
        "keyPath": "",
        "caPath": "",
        "passphrase": "",
    },
    "cors": False,
    "headers": [],
    "proxyReqHeaders": [],
    "proxyResHeaders": [],
    "data": [],
    "callbacks": [],
}

HTTPSERVER = f"""
import sys, threading
from pytest_httpserver import HTTPServer
server = HTTPServer(host="127.0.0.1", port=int(sys.argv[1]))
server.expect_request({PATH!r}, method="POST").respond_with_json({ANSWER!r})
server.start()
threading.Event().wait()
"""


def in_file(name: str, content: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server to set up in a folder and to start with `command`, in which {port} stands for its port."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda _: None
    path: str = PATH
    body: str = json.dumps(BODY)
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    probe: str = "/"


PEERS = (
    Peer(
        name="Prism",
        command=("prism", "mock", "api.json", "-p", "{port}", "-h", "127.0.0.1", "-v", "silent"),
        prepare=in_file("api.json", OPENAPI),
    ),
    Peer(
        name="WireMock",
        command=(
            "wiremock",
            "--port",
            "{port}",
            "--bind-address",
            "127.0.0.1",
            "--max-request-journal-entries",
            "10000",
        ),
        prepare=in_file(
            "mappings/sendsms.json",
            {
                "request": {"method": "POST", "urlPath": PATH},
                "response": {"status": 200, "jsonBody": ANSWER, "headers": {"Content-Type": "application/json"}},
            },
        ),
        probe="/__admin/health",
    ),
    Peer(
        name="json-server",
        command=("json-server", "db.json", "--port", "{port}", "--host", "127.0.0.1", "--quiet"),
        prepare=in_file("db.json", {"messages": []}),
        path="/messages",
    ),
    Peer(
        name="Mockoon CLI",
        command=("mockoon-cli", "start", "--data", "mock.json", "--port", "{port}", "--disable-log-to-file"),
        prepare=in_file("mock.json", MOCKOON),
    ),
    Peer(
        name="moto_server (SNS Publish)",
        command=("moto_server", "-H", "127.0.0.1", "-p", "{port}"),
        path="/",
        body="Action=Publish&Version=2010-03-31&PhoneNumber=%2B2348020000000&Message=When+was+the+last+time",
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "AWS4-HMAC-SHA256 Credential=k/20261123/us-east-1/sns/aws4_request, SignedHeaders=host, "
            "Signature=0",
        },
        probe="/moto-api/",
    ),
    Peer(
        name="pytest-httpserver",
        command=("python", "server.py", "{port}"),
        prepare=in_file("server.py", HTTPSERVER),
    ),
)


def interpreter_with(module: str) -> str | None:
    """A Python on the PATH, or this one, that has the module: it may live in an environment of its own."""
    import subprocess
    import sys

    beside = shutil.which("moto_server")
    for python in (sys.executable, str(Path(beside).with_name("python")) if beside else None):
        if python and subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
            return python
    return None


@contextmanager
def running(peer: Peer, cpu: int | None) -> Iterator[int | None]:
    """The peer's port, or None where it is not installed."""
    program = interpreter_with("pytest_httpserver") if peer.command[0] == "python" else shutil.which(peer.command[0])
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        peer.prepare(Path(folder))
        port = free_port()
        command = [program, *(part.format(port=port) for part in peer.command[1:])]
        with process(command, cpu=cpu, cwd=folder):
            wait_until_answers(port, peer.probe, within_s=60)
            yield port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server_cpu, load_cpu = processors()
    runs: dict[str, list[Run]] = {}
    skipped = []
    own = Peer(name="ninebits-sandbox, durable", command=())
    floor = Peer(name="bare echo", command=())
    with ExitStack() as stack:
        targets = {
            floor.name: (floor, stack.enter_context(echo(server_cpu))),
            own.name: (own, stack.enter_context(sandbox(cpu=server_cpu))),
        }
        for peer in PEERS:
            port = stack.enter_context(running(peer, server_cpu))
            if port is None:
                skipped.append(peer.name)
            else:
                targets[peer.name] = (peer, port)
        for number in range(options.rounds + 1):
            for name, (peer, port) in targets.items():
                run = load(
                    port,
                    peer.path,
                    connections=options.connections,
                    seconds=options.seconds,
                    cpu=load_cpu,
                    body=peer.body,
                    headers=peer.headers,
                )
                if number:  # the first round warms up, which Java needs
                    runs.setdefault(name, []).append(run)
                    if not options.json:
                        print(f"round {number}  {name:<26} {run.rate:8.0f}/s  errors {run.errors}", flush=True)
    rows = [
        {
            "server": name,
            "rate": round(median([run.rate for run in mine])),
            "p99_ms": round(median([run.p99_ms for run in mine]), 2),
            "ratio": round(median([run.rate / bare.rate for run, bare in zip(mine, runs[floor.name], strict=True)]), 3),
            "noise": spread([run.rate for run in mine]),
            "errors": sum(run.errors for run in mine),
        }
        for name, mine in runs.items()
    ]
    fastest = max((row for row in rows[2:]), key=lambda row: float(row["rate"]), default=None)
    times = round(float(rows[1]["rate"]) / float(fastest["rate"]), 2) if fastest else None
    if options.json:
        print(json.dumps({"rows": rows, "skipped": skipped, "times_fastest_peer": times}))
        return
    print(f"\n{'':<28}{'req/s':>8}{'of echo':>9}{'p99 ms':>9}{'noise':>7}{'errors':>8}")
    for row in rows:
        print(
            f"{row['server']:<28}{row['rate']:>8}{row['ratio']:>9}{row['p99_ms']:>9}{row['noise']:>7}{row['errors']:>8}"
        )
    if skipped:
        print(f"not installed: {', '.join(skipped)}")
    if fastest:
        print(f"the sandbox makes {times} times the rate of the fastest peer, {fastest['server']}")


if __name__ == "__main__":
    main()
