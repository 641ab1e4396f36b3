"""An application in a process of its own: prints its address, then each POST that it answers as a line of JSON."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = b'{"status": "ok"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
        # It does close, as soon as it gets to it: who does not say so is posted to again on the same connection.
        self.wfile.write(head.encode() + b"Connection: close\r\n\r\n" + answer)
        call = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode(),
            "answered_ms": time.time_ns() / 1e6,
        }
        print(json.dumps(call), flush=True)

    def log_message(self, *_: object) -> None:
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
    print(f"http://127.0.0.1:{listening.server_address[1]}/sms", flush=True)
    listening.serve_forever()
