"""A small reverse proxy in front of a sandbox, which serves it below a path prefix and takes the prefix off, or not."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/sms-sandbox"
OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date"}


@contextmanager
def proxy(port: int, *, strips: bool) -> Iterator[str]:
    """Serve what listens on `port` below PREFIX while the block runs; yields the address, with the prefix.

    What is asked for above the prefix is answered 418, which a sandbox never does.
    """
    streams: set[socket.socket] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5  # browsers open connections that they then never use, and closing would wait for these

        def _pass_on(self) -> None:
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(PREFIX):
                self.send_error(418)
                return
            path = (self.path.removeprefix(PREFIX) or "/") if strips else self.path
            behind = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            behind.connect()
            streams.add(behind.sock)
            try:
                behind.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in OF_ONE_CONNECTION:
                        behind.putheader(name, value)  # Host as well, as the sandbox's rules want it
                behind.endheaders(body or None)
                self._answer(behind.getresponse())
            except OSError:  # one of the two has left
                pass
            finally:
                behind.close()

        def _answer(self, answer: http.client.HTTPResponse) -> None:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)

        do_GET = do_POST = do_PUT = _pass_on

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing joins them
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:  # a browser that left
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"
        finally:
            server.shutdown()
            thread.join()
            for each in tuple(streams):
                with suppress(OSError):  # it has ended
                    each.shutdown(socket.SHUT_RDWR)
