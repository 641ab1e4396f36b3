"""Keep-alive load from a process of its own, for machines without wrk: load.py PORT PATH CONNECTIONS SECONDS.

Prints requests, duration and percentiles in microseconds, and errors, in the form that side_by_side.py reads.
"""

import asyncio
import json
import sys
import time

from side_by_side import BODY, HEADERS


async def one(port: int, path: str, until: float, turns: list[int], took: list[float], errors: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    while time.perf_counter() < until:
        turns[0] += 1
        body = json.dumps({**BODY, "to": f"23480{turns[0] % 1000:08d}"})
        begun = time.perf_counter()
        request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write(request.encode() + body.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - begun)
        errors[0] += not head.startswith(b"HTTP/1.1 200")
    writer.close()


async def main(port: int, path: str, connections: int, seconds: float) -> None:
    turns, took, errors = [0], list[float](), [0]
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(one(port, path, begun + seconds, turns, took, errors))
    duration = time.perf_counter() - begun
    took.sort()
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"RESULT {len(took)} {duration * 1e6:.0f} {p50 * 1e6:.0f} {p99 * 1e6:.0f} {errors[0]}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
