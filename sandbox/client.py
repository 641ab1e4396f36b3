"""A Python client of the control API and of the gateway, on the standard library alone.

It imports nothing of the server, so that a command line or a test of another project can use it without loading one.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from sandbox.errors import SandboxError, Unreachable

Json = dict[str, Any]


class Refused(SandboxError):
    """The sandbox answered with an error; `problem` is its whole body."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        self.exit_code = 2 if status in (400, 401, 403, 415) else 1
        lines = [str(problem.get("detail") or problem.get("message") or f"The sandbox answered {status}.")]
        lines += [f"  {each.get('message')} {each.get('hint', '')}".rstrip() for each in problem.get("errors", ())]
        super().__init__("\n".join(lines))


class SandboxClient:
    """Talks to one sandbox, in the name of one account (`account` None: the default one)."""

    def __init__(
        self, url: str, *, account: str | None = None, control_token: str | None = None, timeout_s: float = 40
    ) -> None:
        self.url = url.rstrip("/")
        self.account = account
        self._headers = {"Authorization": f"Bearer {control_token}"} if control_token else {}
        self._timeout_s = timeout_s
        self._opener = build_opener(ProxyHandler({}))  # a sandbox is never behind the environment's proxy

    def ready(self) -> bool:
        """Whether the sandbox answers and its database does."""
        try:
            self._call("GET", "/readyz")
        except (Unreachable, Refused):
            return False
        return True

    def wait_ready(self, seconds: float) -> bool:
        """Whether the sandbox became ready within `seconds`."""
        pause = threading.Event()
        for _ in range(max(1, round(seconds / 0.05))):
            if self.ready():
                return True
            pause.wait(0.05)
        return False

    def submit(self, body: Mapping[str, object], *, token: str) -> Json:
        """Send an MT message as an application would. Raises Refused with the gateway's problems."""
        return self._call("POST", "/ng/v1/sendsms", body, {"Authorization": f"Bearer {token}"})

    def list(self, plural: str, **filters: object) -> Json:
        """A list of the control API: `messages`, `requests`, `handsets`, `webhook-deliveries`, `accounts`."""
        return self._api("GET", plural, query=filters)

    def get(self, plural: str, id: str) -> Json:
        return self._api("GET", f"{plural}/{quote(id, safe='')}")

    def reply(self, msisdn: str, text: str, **more: object) -> Json:
        """Reply from a handset to the last MT; answers `{message, webhook_delivery}` after the first attempt."""
        return self._api("POST", f"handsets/{quote(msisdn, safe='')}/reply", {"text": text, **more})

    def send(self, msisdn: str, text: str, *, to: str, **more: object) -> Json:
        """Send a text that the handset starts by itself, in a new session."""
        return self._api("POST", f"handsets/{quote(msisdn, safe='')}/send", {"text": text, "to": to, **more})

    def attempt(self, id: str) -> Json:
        return self._api("POST", f"webhook-deliveries/{quote(id, safe='')}/attempt", {})

    def redeliver(self, id: str) -> Json:
        return self._api("POST", f"webhook-deliveries/{quote(id, safe='')}/redeliver", {})

    def events(self, after: int | None = None) -> Iterator[Json]:
        """What happens, event by event, from the entry after `after` or from now on. Ends when the sandbox stops."""
        query = {"after": after} if after is not None else {}
        with self._open("GET", self._path("events", query), None, {}, timeout_s=None) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def _path(self, path: str, query: Mapping[str, object]) -> str:
        given = {name: value for name, value in query.items() if value is not None}
        if self.account is not None:
            given["account"] = self.account
        return f"/_sandbox/v1/{path}" + (f"?{urlencode(given)}" if given else "")

    def _api(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Json:
        return self._call(method, self._path(path, query or {}), body)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        with self._open(method, path, body, headers or {}, timeout_s=self._timeout_s) as answer:
            found: Json = json.loads(answer.read() or b"{}")
            return found

    def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
        *,
        timeout_s: float | None,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, method=method)  # noqa: S310 -- the user's own address
        for name, value in {"Content-Type": "application/json", **self._headers, **headers}.items():
            request.add_header(name, value)
        try:
            return self._opener.open(request, timeout=timeout_s)
        except HTTPError as error:
            with error:
                try:
                    problem = json.loads(error.read())
                except ValueError:
                    problem = {}
            raise Refused(error.code, problem if isinstance(problem, dict) else {}) from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(
                f"No sandbox answers at {self.url} ({reason}). Start one with: ninebits-sandbox serve; or name its "
                "address with --url or NINEBITS_SANDBOX_URL."
            ) from None
