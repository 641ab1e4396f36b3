"""How long does `serve` take from its start to the first 200? Beside bare Starlette + uvicorn in the same run.

    python benchmarks/startup.py [--rounds 15] [--json]

Each start is a new process in an empty folder, in turn; the ratio is the median of the rounds' own ratios.
"""

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from side_by_side import free_port, median, process, spread

BARE = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
import sys

async def live(_):
    return JSONResponse({"status": "ok"})

uvicorn.run(Starlette(routes=[Route("/livez", live)]), port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def start_to_200(command: Sequence[str], port: int, folder: str) -> float:
    """Seconds from the start of the process to its first 200."""
    begun = time.perf_counter()
    with process(command, cwd=folder):
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            try:
                connection.request("GET", "/livez")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            except OSError:
                time.sleep(0.001)
            finally:
                connection.close()
            if time.perf_counter() - begun > 20:
                raise SystemExit("The server did not come up.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bare: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        script = Path(home, "bare.py")
        script.write_text(BARE)
        for number in range(options.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                port = free_port()
                first = start_to_200([sys.executable, str(script), str(port)], port, folder)
                port = free_port()
                command = [sys.executable, "-m", "sandbox.cli", "serve", "--port", str(port)]
                second = start_to_200(command, port, folder)
            if number:  # the first round compiles and fills caches
                bare.append(first)
                ours.append(second)
    ratio = median([mine / floor for mine, floor in zip(ours, bare, strict=True)])
    if options.json:
        print(json.dumps({"bare_ms": median(bare) * 1000, "sandbox_ms": median(ours) * 1000, "ratio": ratio}))
        return
    print(f"bare Starlette + uvicorn  {median(bare) * 1000:6.0f} ms  noise {spread(bare)}")
    print(f"ninebits-sandbox serve    {median(ours) * 1000:6.0f} ms  noise {spread(ours)}")
    print(f"ratio                     {ratio:6.2f}")


if __name__ == "__main__":
    main()
