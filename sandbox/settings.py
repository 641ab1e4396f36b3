"""The settings: one frozen table from which flags, environment names, file keys and the documentation all derive.

It turns what people wrote into values, or complains about everything at once; what a setting does is its users' affair,
and nothing here listens, connects, or touches a file other than the one that holds the settings.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from sandbox.errors import Invalid, SettingsError
from sandbox.model import Account, CallbackAuth, MsisdnFormat, Order
from sandbox.values.kinds import (
    NAME,
    NAME_IS,
    Choice,
    Each,
    Fitting,
    Flag,
    InvalidValue,
    Kind,
    Seconds,
    Size,
    Url,
    Whole,
    size,
    span,
    unknown,
)
from sandbox.values.numbers import Short
from sandbox.wire.problems import mask

PREFIX = "NINEBITS_SANDBOX_"  # an application's own NINEBITS_… variables hold real tokens
CONFIG_ENV = f"{PREFIX}CONFIG"
OTHER_ENV = (CONFIG_ENV, f"{PREFIX}URL", f"{PREFIX}ACCOUNT")  # the last two are for client commands
FILE_NAME = "ninebits-sandbox.toml"

# Seconds after attempt 1 was known to have failed. "The first initial retry will happen 30 seconds after the first try.
# The next attempt is after 60 seconds, then after 120 seconds. The last retry will be 3600 seconds after the initial
# failed attempt" [W] can be read in two ways; that it speaks of offsets which double is our default [S].
RETRY_PRESETS: dict[str, tuple[int, ...]] = {
    "documented": (30, 60, 120, 240, 480, 960, 1920, 3600),
    "documented-gaps": (30, 90, 210, 450, 930, 1890, 3600),
    "fast": (1, 2, 4),
}

OWN_PATHS = "_sandbox|c|doctor|livez|login|messages|ng|present|readyz|requests|runs|scenarios|settings|static|webhooks"
"""What the sandbox's own paths begin with, as a pattern; a `root_path` does not, so that they can be told apart."""


def url_of(host: str, port: int, *, tls: bool) -> str:
    """The address at which a server that listens on `host` is reached from the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared, not bound
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def mask_url(url: str) -> str:
    """`https://…@example.com/sms?…`: the address without user name, password and query."""
    url = re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\1…@", url)
    return re.sub(r"([?#]).*", r"\1…", url, flags=re.DOTALL)


def visible(text: str) -> str:
    """Escapes control, bidi and surrogate characters, so that no error can repaint a terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else visible(str(value))


def _show_retry(retry_s: tuple[int, ...]) -> str:
    return next((name for name, offsets in RETRY_PRESETS.items() if offsets == retry_s), _show(retry_s))


def _show_time(seconds: float) -> str:
    return span(seconds * 1000)


class JsonTemplate(Kind[str]):
    """The text of a JSON object whose strings may name PLACEHOLDERS in braces."""

    def __init__(self) -> None:
        super().__init__({"type": "string"}, "the text of a JSON object, at most 16384 characters")

    def read(self, value: Any) -> str:
        from sandbox.wire.nesting import too_deep  # here, because most settings and commands do without
        from sandbox.wire.payloads import PLACEHOLDERS

        text = value if isinstance(value, str) and len(value) <= 16_384 else ""
        try:
            body = json.loads(text)
            written = json.dumps(body, ensure_ascii=False, allow_nan=False)  # without escapes; refuses NaN and 1e999
            (text + written).encode()  # refuses lone surrogates
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or too_deep(text):
            raise self.invalid(value)
        names = set(re.findall(r"\{(\w+)\}", written))  # outside its strings JSON has no {word}
        if not names <= set(PLACEHOLDERS):
            allowed = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise InvalidValue(f"holds an unknown placeholder. Use no {{placeholder}} but {allowed}.")
        return text


class RetryKind(Kind[tuple[int, ...]]):
    """The offsets of the retries, in seconds after attempt 1 was known to have failed.

    A preset's name, or offsets as a list or separated by commas: strictly increasing whole seconds from 1 to 86400, at
    most 20, where none means no retries.
    """

    def __init__(self) -> None:
        self._offsets = Each(Whole(1, 86_400))
        schema = {"anyOf": [Choice(RETRY_PRESETS).schema, {**self._offsets.schema, "maxItems": 20}]}
        presets = ", ".join(RETRY_PRESETS)
        super().__init__(schema, f"{presets}, or at most 20 strictly increasing whole seconds from 1 to 86400")

    def read(self, value: Any) -> tuple[int, ...]:
        preset = RETRY_PRESETS.get(value.strip()) if isinstance(value, str) else None
        try:
            offsets = preset or self._offsets.read(value)
            if len(offsets) <= 20 and list(offsets) == sorted(set(offsets)):
                return offsets
        except InvalidValue:
            pass
        raise self.invalid(value)


_TEXT = Fitting(r"\s*\S.*", "a text that is not empty and has no control characters")
_HOST = Fitting(
    r"[\w.-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", "a host name or an IP address, no port or brackets"
)
_HOST_NAMES = Each(Fitting(r"[a-z0-9._-]{1,253}", "host names in lower case, without scheme and port"))
_CONTROL_TOKEN = Fitting(r"[!-~]{16,256}", "16 to 256 visible ASCII characters without spaces")
_TOKEN = Fitting(r"[!-~]{1,256}", "1 to 256 visible ASCII characters without spaces")
_ROOT_PATH = Fitting(
    rf"(?!/(?:{OWN_PATHS})(?:/|$))(?=.{{1,200}}$)(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+",
    "a path like /sms-sandbox: without a slash at its end, and not beginning as the sandbox's own paths do",
)
_FLAG = Flag({"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting: what it is called wherever it can be written, how it is read and shown, what it is for."""

    scope: Literal["server", "account"]
    attribute: str  # of Settings or of Account; it may end in a unit, the name does not
    default: object
    help: str
    kind: Kind[Any] = field(repr=False)
    show: Callable[[Any], str] = field(default=_show, repr=False)  # masks what is secret
    secret: bool = False

    @property
    def name(self) -> str:
        """The key in a file and in the control API."""
        return self.attribute.removesuffix("_s")

    @property
    def env(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(map(str, self.kind.choices)) if isinstance(self.kind, Choice) else ()

    @property
    def is_bool(self) -> bool:
        return isinstance(self.default, bool)

    @property
    def default_text(self) -> str:
        return str(self.default) if self.secret and self.default else self.text(self.default)  # it is documented

    def text(self, value: object) -> str:
        """`value` as anybody may see it."""
        return "none" if value in (None, ()) else self.show(value)


def _setting(default: Any, help: str, kind: Kind[Any] = _TEXT, **rest: Any) -> Any:
    columns = {"scope": "server", "help": help, "kind": kind, **rest}
    return field(default=default, repr="secret" not in rest, metadata=columns)


# The token is documented, so that the first request needs no preparation.
DEFAULT_ACCOUNT = Account(name="default", token="sandbox-token", retry_s=RETRY_PRESETS["documented"])  # noqa: S106


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Sizes are in bytes; what ends in `_s` is in seconds."""

    host: str = _setting("127.0.0.1", "Address to listen on; beyond loopback a control token is needed.", _HOST)
    port: int = _setting(2081, "Port to listen on; 0 takes any free one.", Whole(0, 65_535))
    db: str = _setting(".ninebits-sandbox/sandbox.db", "Database file; :memory: keeps nothing after the end.")
    control_token: str | None = _setting(None, "Token for pages, control API.", _CONTROL_TOKEN, show=mask, secret=True)
    insecure_no_auth: bool = _setting(False, "Listen beyond loopback without a control token.", _FLAG)
    allowed_hosts: tuple[str, ...] = _setting((), "Host names with a dot to answer to.", _HOST_NAMES)
    root_path: str | None = _setting(None, "Path prefix below which a reverse proxy serves all this.", _ROOT_PATH)
    clock: str = _setting("system", "Time runs as the system's, or when told to.", Choice(("system", "virtual")))
    max_messages: int = _setting(10_000, "Messages kept; the oldest go first.", Whole(1, 10**8))
    max_age_s: float = _setting(7 * 86_400, "Age limit of messages.", Seconds(3650 * 86_400, 1), show=_show_time)
    ssl_certfile: str | None = _setting(None, "Certificate chain (PEM), to speak HTTPS.")
    ssl_keyfile: str | None = _setting(None, "Private key (PEM) of the certificate.")
    log_format: str = _setting("text", "How an event is logged.", Choice(("text", "json")))
    max_body: int = _setting(64 * 1024, "Largest request to the gateway.", Size(1, 2**26), show=size)
    max_control_body: int = _setting(1024**2, "Largest request elsewhere.", Size(1, 2**26), show=size)
    max_text: int = _setting(1600, "Longest text of a message, in characters.", Whole(1, 100_000))
    loop_limit: int = _setting(50, "Texts of rules in a conversation in a minute; 0: any.", Whole(0, 10**6))
    max_connections: int = _setting(512, "Connections at once; more are answered 503.", Whole(1, 100_000))
    max_event_streams: int = _setting(100, "Event streams at once; more get a 503.", Whole(1, 100_000))
    header_deadline_s: float = _setting(10, "Time for a request's headers.", Seconds(3600, 0.1), show=_show_time)
    body_deadline_s: float = _setting(30, "Time for a request's body.", Seconds(3600, 0.1), show=_show_time)
    webhook_deadline_s: float = _setting(10, "Time an attempt may take.", Seconds(600, 0.01), show=_show_time)
    webhook_concurrency: int = _setting(32, "Webhook attempts at once.", Whole(1, 10_000))
    webhook_per_host: int = _setting(4, "Webhook attempts at once to one host.", Whole(1, 10_000))
    webhook_backlog: int = _setting(100_000, "Open webhook deliveries at most.", Whole(1, 10**8))
    accounts: tuple[Account, ...] = (DEFAULT_ACCOUNT,)  # never empty; flags and environment speak of the first

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines may reach the server; any other spelling of loopback than the usual counts as yes."""
        return not re.fullmatch(r"localhost|::1|127(\.[0-9]{1,3}){3}", self.host)


def _account_key(attribute: str, help: str, kind: Kind[Any], **rest: Any) -> Key:
    default = getattr(DEFAULT_ACCOUNT, attribute)
    return Key(scope="account", attribute=attribute, default=default, help=help, kind=kind, **rest)


_ACCOUNT_KEYS = (
    _account_key("name", "Name of the account.", Fitting(NAME, NAME_IS)),
    _account_key("token", "API token of the application.", _TOKEN, show=mask, secret=True),
    _account_key("shortcodes", "Shortcodes it may send from; none listed means any.", Each(Short())),
    _account_key("client_url", "Where replies are posted.", Url(), show=mask_url, secret=True),
    _account_key("callback_auth", "How a webhook proves where it is from.", Choice(CallbackAuth)),
    _account_key("msisdn_format", "Numbers in webhooks: 234…, +234…, or by turns.", Choice(MsisdnFormat)),
    _account_key("revision", "Revision of the API; 2025 adds ref_id to webhooks.", Choice(("2024", "2025"))),
    _account_key("strict", "Refuse a message without session_id or sent_date.", _FLAG),
    _account_key("success_body", "JSON to answer an accepted message with.", JsonTemplate()),
    _account_key("retry_s", "When failed webhooks are retried: a preset, or seconds.", RetryKind(), show=_show_retry),
    _account_key("order", "Webhooks go when due, or those of a conversation in turn.", Choice(Order)),
)
_SERVER_KEYS = [Key(attribute=it.name, default=it.default, **it.metadata) for it in fields(Settings) if it.metadata]
KEYS: tuple[Key, ...] = (*_SERVER_KEYS, *_ACCOUNT_KEYS)
_BY_NAME = {key.name: key for key in KEYS}
_ACCOUNT_BY_NAME = {key.name: key for key in _ACCOUNT_KEYS}

_Problems = list[tuple[str, str]]  # (name as it is written, what arrived and what is wanted)


def _read(given: Mapping[str, object], known: Mapping[str, Key], *also: str) -> tuple[dict[str, Any], _Problems]:
    """The values of known names, and what is wrong with the rest; names in `also` are the caller's."""
    values: dict[str, Any] = {}
    problems: _Problems = [
        (name, f"{name} is a setting of the server, no account's. Leave it out." if name in _BY_NAME else reason)
        for name, reason in unknown(given, [*known, *also])
    ]
    for name in [name for name in known if name in given]:
        key, value = known[name], given[name]
        try:  # empty text unsets, so that a flag can undo what the file says
            values[name] = None if key.default is None and value in (None, "") else _value(key.kind, value)
        except InvalidValue as error:
            hidden = f"is wrong, and stays secret. Use {key.kind.wanted}."
            problems.append((name, f"{key.name} {hidden if key.secret else error}"))
    return values, problems


def _value(kind: Kind[Any], value: object) -> object:
    if isinstance(value, str):
        return kind.from_text(value.strip() if isinstance(kind, Whole | Size | Seconds) else value)
    return kind.read(value)


def _at_odds(account: Account) -> _Problems:
    # Without a client_url nothing is posted, so that the two can be set one after the other.
    url, auth = account.client_url, account.callback_auth
    if url is None or auth is not CallbackAuth.BASIC or urlsplit(url).username:
        return []
    return [("callback_auth", 'callback_auth is "basic". Use a client_url that holds user name and password.')]


def account_from(mapping: Mapping[str, object], *, defaults: Account | None = None) -> Account:
    """The account that `mapping` describes in the keys of an `[[accounts]]` table.

    What it leaves out comes from `defaults`; without them, `name` and `token` may not be left out. Raises Invalid with
    every problem at once, by key.
    """
    values, problems = _read(mapping, _ACCOUNT_BY_NAME)
    if defaults is None:
        problems += [
            (name, f"{name} is missing. Use one of its own.") for name in ("name", "token") if name not in mapping
        ]
    changes = {_BY_NAME[name].attribute: value for name, value in values.items()}
    account = replace(defaults or DEFAULT_ACCOUNT, **changes)
    problems += _at_odds(account)
    if problems:
        raise Invalid(*problems)
    return account


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, and for each name in `rows` where its value was written."""

    settings: Settings
    origin: Mapping[str, str]


def load(*, flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, file: Path | None = None) -> Loaded:
    """The settings from flags, else the environment, else a file, else the defaults.

    `flags` goes by the keys' names; None stands for a flag that was not given. `file` (else NINEBITS_SANDBOX_CONFIG)
    names the file; without it, ninebits-sandbox.toml or pyproject.toml in `cwd` is read if there. Raises SettingsError,
    which lists everything that is wrong: where it is written, what arrived, what is wanted.
    """
    source, table, errors = _file_table(file or environ.get(CONFIG_ENV), cwd)
    tables = table.get("accounts", [])
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        errors.append(f"{source}, key accounts: wanted one [[accounts]] table for each account")
        tables = []
    first = tables[0] if tables else {}
    twice = sorted(table.keys() & first.keys() & _ACCOUNT_BY_NAME.keys())
    errors += [f"{source}, key {name}: also in [[accounts]] 1; wanted only one of the two" for name in twice]

    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    typed = {"--" + name.replace("_", "-"): value for name, value in flags.items() if value is not None}
    values: dict[str, dict[str, Any]] = {"server": {}, "account": {}}
    origin = {key.name: "default" for key in KEYS}
    for given, known, also, where, whole in (
        (table, _BY_NAME, ("accounts",), f"{source}, key ", source),
        (first, _ACCOUNT_BY_NAME, (), f"{source}, [[accounts]] 1, key ", source),
        (ours, {key.env: key for key in KEYS}, OTHER_ENV, "environment ", ""),
        (typed, {key.flag: key for key in KEYS}, (), "flag ", ""),
    ):
        found, problems = _read(given, known, *also)
        errors += [f"{where}{name}: {reason}" for name, reason in problems]
        for name, value in found.items():
            values[known[name].scope][known[name].attribute] = value
            origin[known[name].name] = whole or where + name

    settings = Settings(**values["server"])
    if (settings.ssl_certfile is None) is not (settings.ssl_keyfile is None):
        name = "ssl_certfile" if settings.ssl_certfile else "ssl_keyfile"
        errors.append(f"{origin[name]}: {name} came alone; wanted ssl_certfile and ssl_keyfile together")
    accounts = [replace(DEFAULT_ACCOUNT, **values["account"])]
    errors += [f"{origin[name]}: {reason}" for name, reason in _at_odds(accounts[0])]
    for number, entry in enumerate(tables[1:], start=2):
        place = f"{source}, [[accounts]] {number}, key"
        try:
            account = account_from(entry)
        except Invalid as error:
            errors += [f"{place} {name}: {reason}" for name, reason in error.fields]
            continue
        for name in ("name", "token"):
            if getattr(account, name) in [getattr(other, name) for other in accounts]:
                errors.append(f"{place} {name}: an account above has the same; wanted one of its own")
        accounts.append(account)
        for name in _ACCOUNT_BY_NAME:
            origin[f"accounts[{account.name}].{name}"] = source if name in entry else "default"
    if errors:
        raise SettingsError("\n  ".join(["These settings make no sense:", *errors]))
    return Loaded(settings=replace(settings, accounts=tuple(accounts)), origin=origin)


def _file_table(named: Path | str | None, cwd: Path) -> tuple[str, dict[str, Any], list[str]]:
    """What origins and errors call the file, its table of settings, and what is wrong with it as a whole."""
    usual = (path for path in (Path(FILE_NAME), Path("pyproject.toml")) if (cwd / path).is_file())
    path = Path(named) if named else next(usual, None)
    if path is None:
        return "", {}, []
    source = f"file {visible(str(path))}"
    try:
        raw = (cwd / path).read_bytes()
        if path.name == "pyproject.toml" and not named and b"ninebits-sandbox" not in raw:
            return source, {}, []  # spares most projects the parsing
        import tomllib

        table = tomllib.loads(raw.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return source, {}, [f"{source}: cannot be read as TOML: {visible(str(error))}"]
    if path.name != "pyproject.toml":
        return source, table, []
    match table:
        case {"tool": {"ninebits-sandbox": dict() as ours}}:
            return source, ours, []
    return source, {}, [f"{source}: has no table [tool.ninebits-sandbox]"] if named else []


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One line of `config show`; a secret in `value` is masked."""

    key: str
    value: str
    origin: str
    help: str


def rows(loaded: Loaded) -> list[SettingRow]:
    """Every setting as text; the names of keys of accounts after the first begin with `accounts[NAME].`"""
    first, *others = loaded.settings.accounts
    shown = [(key.name, key, loaded.settings if key.scope == "server" else first) for key in KEYS]
    shown += [(f"accounts[{other.name}].{key.name}", key, other) for other in others for key in _ACCOUNT_KEYS]
    return [
        SettingRow(key=name, value=key.text(getattr(holder, key.attribute)), origin=loaded.origin[name], help=key.help)
        for name, key, holder in shown
    ]
