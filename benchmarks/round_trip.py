"""How many dialogues a second: MT in, scripted reply, POST to the application, attempt recorded? All durable.

    python benchmarks/round_trip.py [--rounds 5] [--messages 3000] [--json]

A persona answers every message at once. The floor is a bare loop of the same HTTP client that posts the same payload to
the same receiver, as many at once as the sandbox posts to one host. Server and floor run on one processor, the receiver
and the load on the other, in turn.
"""

import argparse
import asyncio
import http.client
import json
import subprocess
import sys
import time
from itertools import count

from side_by_side import BODY, HEADERS, echo, median, processors, sandbox, spread

from sandbox.webhooks.poster import Poster

PATH = "/ng/v1/sendsms"
AT_ONCE = 4  # webhook attempts to one host
PERSONA = 'scenario: answers\nrules:\n  - when: {text: "*"}\n    reply: {text: "yesterday"}\n'
PAYLOAD = (
    b'{"type": "two-way sms", "telco": "mtn", "from": "2348020000000", "to": "48974", "message": "yesterday", '
    b'"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)
UNDER_WAY = ("pending", "in_flight", "retrying")


def call(port: int, method: str, path: str, body: object = None) -> dict[str, list[object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, f"/_sandbox/v1{path}", json.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status >= 400:
        raise SystemExit(f"{method} {path}: {response.status} {answer.decode()}")
    return json.loads(answer) if answer else {}


async def send(port: int, messages: int, numbers: "count[int]") -> None:
    """So many messages over 16 connections, each to another handset for a long time."""
    left = iter(range(messages))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        for _ in left:
            body = json.dumps({**BODY, "to": f"23480{next(numbers) % 100_000:08d}"})
            request = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
            writer.write(request.encode() + body.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(one())


def dialogues(port: int, messages: int, numbers: "count[int]") -> float:
    """Round trips a second: from the first message until the last attempt is recorded."""
    begun = time.perf_counter()
    asyncio.run(send(port, messages, numbers))
    while any(
        call(port, "GET", f"/webhook-deliveries?state={state}&limit=1")["webhook_deliveries"] for state in UNDER_WAY
    ):
        time.sleep(0.01)
    return messages / (time.perf_counter() - begun)


async def bare_loop(url: str, posts: int) -> float:
    """POSTs a second of the client alone."""
    poster = Poster()
    left = iter(range(posts))

    async def one() -> None:
        for _ in left:
            outcome = await poster.post(url, PAYLOAD, None)
            assert outcome.status_code == 200, outcome

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one())
    rate = posts / (time.perf_counter() - begun)
    await poster.close()
    return rate


def floor(url: str, posts: int, cpu: int | None) -> float:
    """The bare loop in a process of its own, on the server's processor."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    command = [*pin, sys.executable, __file__, "--floor", url, "--messages", str(posts)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floor", help=argparse.SUPPRESS)  # the receiver's URL
    options = parser.parse_args()
    if options.floor:
        from sandbox.http.server import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            print(runner.run(bare_loop(options.floor, options.messages)))
        return
    server_cpu, load_cpu = processors()
    ours, bare = [], []
    numbers = count()
    with echo(load_cpu) as receiver, sandbox(cpu=server_cpu) as port:
        url = f"http://127.0.0.1:{receiver}/sms"
        call(port, "PATCH", "/accounts/default", {"client_url": url})
        call(port, "PUT", "/scenarios/answers", {"source": PERSONA})
        call(port, "POST", "/scenarios/answers/runs", {})
        dialogues(port, 500, numbers)  # warm up
        for number in range(options.rounds):
            bare.append(floor(url, options.messages, server_cpu))
            ours.append(dialogues(port, options.messages, numbers))
            if not options.json:
                print(f"round {number + 1}  dialogues {ours[-1]:7.0f}/s  bare POSTs {bare[-1]:7.0f}/s", flush=True)
    ratio = median([mine / floor for mine, floor in zip(ours, bare, strict=True)])
    found = {"dialogues_per_s": round(median(ours)), "bare_posts_per_s": round(median(bare)), "ratio": round(ratio, 3)}
    if options.json:
        print(json.dumps({**found, "noise": spread(ours), "rounds": options.rounds}))
        return
    print(
        f"\n{found['dialogues_per_s']}/s beside {found['bare_posts_per_s']}/s: {found['ratio']}, noise {spread(ours)}"
    )


if __name__ == "__main__":
    main()
