"""Broken requests without end, each made of its seed alone: good ones of every surface, and what becomes of them.

Shared by the tests of malformed HTTP; nothing in here is a test, or sends anything.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random  # noqa: TID251 -- seeded by who calls, who says the seed
from typing import Any

HOST = "Host: 127.0.0.1"
TOKEN = "Authorization: Bearer sandbox-token"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
HANDSET = "2348020000000"
SMS = {
    "from": "48974",
    "to": HANDSET,
    "message": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "sent_date": "2024-01-02T23:50:37.000000Z",
}


class Manner(Enum):
    """How a client ends."""

    HALF = "says that it has sent all, once it had a moment to be answered"
    STAY = "waits until it is answered, or the connection is closed"
    LEAVE = "breaks the connection off at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one client sends, piece by piece, over a connection of its own."""

    seed: str
    pieces: Sequence[bytes]
    manner: Manner


@dataclass(slots=True)
class Request:
    """A request that can still be changed; `body` is sent as it is, with its length unless `framed`."""

    method: str
    target: str
    headers: list[str]
    body: bytes = b""
    version: str = "HTTP/1.1"
    framed: bool = False

    def written(self) -> bytes:
        lines = [f"{self.method} {self.target} {self.version}", *self.headers]
        if self.body and not self.framed:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body


def _get(target: str, *headers: str) -> Callable[[], Request]:
    return lambda: Request("GET", target, [HOST, *headers])


def _json(method: str, target: str, body: object, *headers: str) -> Callable[[], Request]:
    return lambda: Request(method, target, [HOST, JSON, *headers], json.dumps(body).encode())


def _form(target: str, body: str) -> Callable[[], Request]:
    return lambda: Request("POST", target, [HOST, FORM], body.encode())


# Nothing here makes the sandbox call anybody, asks for a failure of the gateway, or waits for long; nor does what
# becomes of it, as no mutation makes up a new key.
V1 = "/_sandbox/v1"
GOOD: Sequence[Callable[[], Request]] = (
    *[_json("POST", "/ng/v1/sendsms", SMS, TOKEN)] * 8,
    _get("/ng/v1/sendsms", TOKEN),
    _get("/ng/nowhere"),
    _get(f"{V1}/messages?limit=5&text=*cinema*&direction=mt"),
    _get(f"{V1}/messages?pattern=a.b&after=3&to={HANDSET}&session_id=1"),
    _get(f"{V1}/messages/m1"),
    _get(f"{V1}/requests?verdict=refused&limit=2"),
    _get(f"{V1}/webhook-deliveries?state=pending"),
    _get(f"{V1}/handsets/{HANDSET}"),
    _get(f"{V1}/findings"),
    _get(f"{V1}/export"),
    _get(f"{V1}/events", "Last-Event-ID: 3"),
    _get(f"{V1}/conversations/{HANDSET}/transcript"),
    _get(f"{V1}/scenarios/happy-survey"),
    _json("POST", f"{V1}/verify", {"match": {"text": "*a*", "from": "48974"}, "times": {"exactly": 7}}),
    _json("POST", f"{V1}/handsets/{HANDSET}/reply", {"text": "yesterday", "wait": False}),
    _json("POST", f"{V1}/handsets/{HANDSET}/send", {"text": "CINEMA", "to": "48974", "wait": False}),
    _json("PATCH", f"{V1}/handsets/{HANDSET}", {"label": "Ada", "telco": "mtn"}),
    _json("POST", f"{V1}/faults", {"on": "webhook", "match": {"text": "x"}, "effect": {"status": 500}, "times": 1}),
    _json("PUT", f"{V1}/clock", {"action": "advance", "seconds": 1}),
    _json("POST", f"{V1}/accounts", {"name": "other", "token": "other-token", "shortcodes": ["48974"]}),
    _json("PATCH", f"{V1}/accounts/other", {"revision": "2024", "strict": True, "retry": [30, 60]}),
    _json("POST", f"{V1}/reset?account=other", {}),
    _json("POST", f"{V1}/import?account=other", {"type": "message"}),
    _json("POST", f"{V1}/scenarios/happy-survey/runs?account=other", {"msisdn": HANDSET}),
    _json("PUT", f"{V1}/scenarios/mine?account=other", {"source": "scenario: mine\nsteps:\n  - reply: {text: a}\n"}),
    _get("/"),
    _get(f"/c/48974/{HANDSET}"),
    _get("/requests?verdict=refused&q=x"),
    _get("/webhooks?state=pending"),
    _get("/settings"),
    _get("/scenarios/happy-survey"),
    _get("/static/page.css"),
    _get("/livez"),
    _get("/readyz"),
    _form("/", "msisdn=2348030000001&shortcode=48974&label=Ada"),
    _form(f"/c/48974/{HANDSET}", "text=yesterday&session_id=67543uhn3"),
    _form("/scenarios/happy-survey/runs", "msisdn=2348030000002&account=other"),
    _form("/login", "token=x"),
)

# Values ------------------------------------------------------------------------------------------------------------

TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff x",
    "\u202e\u2066",
    "\x1b[2J",
    "😀" * 2000,
    "x" * 70_000,
    "../../etc/passwd",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "{message_id}",
    "*" * 200,
    "(a+)+$",
    "[" * 201,
    "(?P<n>",
    "%00%ff%zz",
    "\r\nX: y",
    "NaN",
    "null",
    "１２３",
    "-1",
    "1e999",
    "٣",
)
NUMBERS = (
    "-1",
    "0",
    "-0",
    "0.1",
    "1e999",
    "-1e999",
    "9" * 5000,
    "2147483648",
    "9223372036854775808",
    "1E-400",
    "00",
    "+1",
)
WORDS = ("null", "true", "false", "NaN", "Infinity", "-Infinity", "undefined", "[]", "{}", "[[]]", '{"": ""}', "[null]")
SHAPES = ("[" * 31, "[" * 33, "[" * 100_000, '{"a":' * 100_000, '"' + "\\" * 999, "[" * 60_000, "]", "{", '"')


def _value(random: Random) -> str:
    """A value that is, or is not, JSON."""
    match random.randrange(4):
        case 0:
            return json.dumps(random.choice(TEXTS), ensure_ascii=random.random() < 0.5)
        case 1:
            return random.choice(NUMBERS)
        case 2:
            return random.choice(WORDS)
        case _:
            return random.choice(SHAPES)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# Mutations ---------------------------------------------------------------------------------------------------------

Mutation = Callable[[Random, Request], None]


def other_json(random: Random, request: Request) -> None:
    """A value, a key or the whole of a JSON body is another, or there twice."""
    try:
        body: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        body = {}
    if not isinstance(body, dict) or not body or random.random() < 0.1:
        request.body = _bytes(_value(random))
        return
    pairs = [(json.dumps(key), json.dumps(value)) for key, value in body.items()]
    at = random.randrange(len(pairs))
    match random.randrange(5):
        case 0 | 1:
            pairs[at] = pairs[at][0], _value(random)
        case 2:
            pairs.append((pairs[at][0], _value(random)))
        case 3:
            pairs[at] = json.dumps(random.choice(TEXTS)), pairs[at][1]
        case _:
            del pairs[at]
    request.body = _bytes("{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}")


def other_encoding(random: Random, request: Request) -> None:
    """The body is not UTF-8, or not as it says."""
    text = request.body.decode("utf-8", "replace")
    encoding = random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037", "utf-7"))
    request.body = text.encode(encoding, "replace")
    if random.random() < 0.5:
        charset = random.choice((encoding, "utf-8", "latin-1", "none", '"', "utf-8; charset=utf-16"))
        request.headers = [f"{each}; charset={charset}" if "Content-Type" in each else each for each in request.headers]


def broken_json(random: Random, request: Request) -> None:
    at = random.randrange(len(request.body) + 1)
    piece = random.choice(
        (b",", b"}", b"]", b'"', b"\\", b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"//", b"\xed\xa0\x80")
    )
    request.body = request.body[:at] + piece + request.body[at + random.randrange(3) :]


def other_target(random: Random, request: Request) -> None:
    path, mark, query = request.target.partition("?")
    match random.randrange(8):
        case 0:
            request.target = random.choice(
                (
                    "*",
                    "",
                    "/",
                    "//",
                    "/?",
                    "?",
                    "#",
                    "http://",
                    "http://x",
                    "127.0.0.1:80",
                    "/..",
                    "/ng/../",
                    "\\",
                    "/%",
                )
            )
        case 1:
            request.target = f"http://{random.choice(('localhost', 'evil.example', '[::1', 'x:99999'))}{request.target}"
        case 2:
            request.target = path + mark + "x" * random.choice((100, 8000, 8190, 8200, 30_000, 300_000))
        case 3:
            request.target = path + random.choice(
                ("/", "%00", "%ff", "%ed%a0%80", "%2e%2e", "%", ";", "\x00", "\x7f", "é")
            )
        case 4 | 5:
            request.target = re.sub("=[^&]*", lambda _: "=" + _quoted(random), request.target, count=1)
        case 6:
            request.target = path + "?" + "&".join([query] * random.randrange(2, 300))
        case _:
            parts = path.split("/")
            parts[random.randrange(len(parts))] = _quoted(random)
            request.target = "/".join(parts) + mark + query


def _quoted(random: Random) -> str:
    return "".join(f"%{byte:02x}" for byte in _bytes(random.choice(TEXTS + NUMBERS))[:3000])


def other_method(random: Random, request: Request) -> None:
    request.method = random.choice(
        (
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PRI",
            "SENDSMS",
            "get",
            "",
            "G T",
        )
    )


def other_version(random: Random, request: Request) -> None:
    request.version = random.choice(
        ("HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9", "http/1.1", "", "X", "HTTP/")
    )


HEADERS = (
    "Host: ",
    "Host: evil.example",
    "Host: 127.0.0.1",
    "Content-Length: 3",
    "Content-Length: -1",
    "Content-Length: 3, 3",
    "Content-Length: 99999999999999999999",
    "Content-Length: 200000000",
    "Content-Length: 0x10",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding:\tchunked",
    "Expect: 100-continue",
    "Expect: the worst",
    "Connection: close",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Origin: null",
    "Origin: http://evil.example",
    "Sec-Fetch-Site: cross-site",
    "Authorization: Bearer",
    "Authorization: Bearer \x00",
    "Authorization: Basic " + "A" * 5000,
    "Authorization: Bearer \udcff",
    "Content-Type: text/plain",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Encoding: gzip",
    "Cookie: ninebits_sandbox_login=\udcff",
    "Last-Event-ID: -1",
    "Last-Event-ID: " + "9" * 30,
    "X" * 20_000 + ": x",
    "X: " + "x" * 20_000,
    "X: a\x00b",
    "X : x",
    " folded",
    ": x",
    "no colon",
    "\udcff: \udcfe",
    *["\r\n".join(["X: x"] * 3000)],
)


def other_headers(random: Random, request: Request) -> None:
    match random.randrange(4):
        case 0 | 1:
            request.headers.insert(random.randrange(len(request.headers) + 1), random.choice(HEADERS))
        case 2:
            del request.headers[random.randrange(len(request.headers))]
        case _:
            request.headers.append(random.choice(request.headers))
    request.headers = request.headers or [HOST]


def in_chunks(random: Random, request: Request) -> None:
    """The body in chunks, most of which are as they should be."""
    request.framed = True
    request.headers.append("Transfer-Encoding: chunked")
    body, chunks = request.body, b""
    while body:
        size = random.randrange(1, len(body) + 1)
        piece, body = body[:size], body[size:]
        mark = random.choice(
            (b"%x", b"%X", b"0%x", b"%x;a=b", b'%x;a="b', b"%x ", b"-%x", b"%xg", b"fffffffffffffffff%x")
        )
        chunks += (mark if random.random() < 0.2 else b"%x") % size + b"\r\n" + piece + b"\r\n"
    ends = (
        b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\nHost: evil\r\n\r\n",
        b"0\r\n",
        b"",
        b"00\n\n",
        b"0\r\n\x00\r\n\r\n",
    )
    request.body = chunks + random.choice(ends)


def wrong_length(random: Random, request: Request) -> None:
    request.framed = True
    request.headers.append(f"Content-Length: {max(0, len(request.body) + random.choice((-1, 1, -20, 500, 100_000)))}")


STRUCTURE: Sequence[Mutation] = (
    *[other_json] * 6,
    *[broken_json] * 2,
    other_encoding,
    *[other_target] * 3,
    other_method,
    other_version,
    *[other_headers] * 4,
    in_chunks,
    wrong_length,
)


def other_lines(random: Random, data: bytes) -> bytes:
    """Lines of a request gone, doubled, swapped, or with another end."""
    lines = data.split(b"\r\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[at].strip() + random.choice((b"\n", b"\r", b"\n ", b"\x00", b"\t"))
        case _:
            return data.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n")))
    return b"\r\n".join(lines)


def other_bytes(random: Random, data: bytes) -> bytes:
    """Bytes of a request changed, gone, doubled, or put in."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5, 30))):
        at = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at:at] = random.randbytes(random.choice((1, 1, 4, 64)))
            case 2:
                del changed[at : at + random.choice((1, 1, 8, 64))]
            case 3:
                changed[at:at] = changed[at : at + random.choice((1, 16, 256))]
            case _:
                del changed[at:]
    return bytes(changed)


def case(seed: str) -> Case:
    """The case of a seed."""
    random = Random(seed)
    data = b"".join(_request(random) for _ in range(random.choice((1,) * 9 + (2, 3, 20))))
    if random.random() < 0.02:
        data = random.randbytes(random.choice((1, 10, 1000, 100_000)))
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 0, 0, 1, 2, 10))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    manner = random.choices((Manner.HALF, Manner.STAY, Manner.LEAVE), (90, 4, 6))[0]
    return Case(seed=seed, pieces=[piece for piece in pieces if piece], manner=manner)


def _request(random: Random) -> bytes:
    request = random.choice(GOOD)()
    level = random.randrange(10)
    if level < 7:
        for _ in range(random.choice((1, 1, 2, 3))):
            random.choice(STRUCTURE)(random, request)
    data = request.written()
    if level >= 8:
        data = other_bytes(random, data)
    elif level >= 6:
        data = other_lines(random, data)
    return data
