"""What people may write as settings, which writing wins, and how mistakes are answered.

Every test hands over its own flags, environment and folder; none reads the machine's.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import settings as config
from sandbox.errors import Invalid, SettingsError
from sandbox.model import Account, CallbackAuth, Msisdn, MsisdnFormat, Order, Shortcode
from sandbox.settings import (
    KEYS,
    PREFIX,
    RETRY_PRESETS,
    Loaded,
    RetryKind,
    Settings,
    account_from,
    mask_url,
    rows,
)
from sandbox.wire import payloads
from sandbox.wire.problems import mask
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure

CANARY = "canary-in-the-coal-mine"
Load = Callable[..., Loaded]
Refused = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(toml=…, pyproject=…, environ=…, port=…)`: the settings as seen from a folder with these files."""

    def load(
        toml: str | None = None,
        pyproject: str | None = None,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        **flags: object,
    ) -> Loaded:
        for name, text in (("ninebits-sandbox.toml", toml), ("pyproject.toml", pyproject)):
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return config.load(flags=flags, environ=environ or {}, cwd=tmp_path, file=file)

    return load


@pytest.fixture
def refused(load: Load) -> Refused:
    """The errors, one line each, of a `load` that must fail."""

    def refused(**written: object) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(**written)
        head, *errors = str(caught.value).splitlines()
        assert head == "These settings make no sense:"
        return [error.removeprefix("  ") for error in errors]

    return refused


def problems_of(mapping: Mapping[str, object], defaults: Account | None = config.DEFAULT_ACCOUNT) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        account_from(mapping, defaults=defaults)
    return dict(caught.value.fields)


# --- the table


def test_the_defaults_are_the_documented_ones(load: Load) -> None:
    settings = load().settings
    assert settings == Settings()
    assert (settings.host, settings.port, settings.db) == ("127.0.0.1", 2081, ".ninebits-sandbox/sandbox.db")
    assert (settings.max_messages, settings.max_age_s, settings.max_text) == (10_000, 7 * 24 * 3600, 1600)
    assert (settings.max_body, settings.max_control_body) == (65_536, 1_048_576)
    assert (settings.max_connections, settings.max_event_streams) == (512, 100)
    assert (settings.header_deadline_s, settings.body_deadline_s) == (10, 30)
    assert (settings.webhook_deadline_s, settings.webhook_concurrency, settings.webhook_per_host) == (10, 32, 4)
    assert (settings.webhook_backlog, settings.clock, settings.log_format) == (100_000, "system", "text")
    assert settings.accounts == (Account(name="default", token="sandbox-token", retry_s=RETRY_PRESETS["documented"]),)


def test_retry_presets_are_those_of_the_contract() -> None:
    assert RETRY_PRESETS == {
        "documented": (30, 60, 120, 240, 480, 960, 1920, 3600),
        "documented-gaps": (30, 90, 210, 450, 930, 1890, 3600),
        "fast": (1, 2, 4),
    }


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_has_help_an_environment_name_and_a_flag(key: config.Key) -> None:
    assert key.help.endswith(".")
    assert key.env == f"NINEBITS_SANDBOX_{key.name.upper()}"
    assert key.flag == f"--{key.name.replace('_', '-')}"
    assert key.default_text


def test_every_attribute_of_settings_and_accounts_has_a_key_of_its_own() -> None:
    server = {each.name for each in fields(Settings)} - {"accounts"}
    assert {key.attribute for key in KEYS if key.scope == "server"} == server
    assert {key.attribute for key in KEYS if key.scope == "account"} == {each.name for each in fields(Account)}
    assert len({key.name for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if key.default not in (None, ())], ids=lambda key: key.name)
def test_a_default_as_it_is_shown_reads_back_as_itself(key: config.Key) -> None:
    assert key.kind.from_text(key.default_text) == key.default


def test_names_leave_out_the_unit_that_attributes_carry() -> None:
    names = {key.attribute: key.name for key in KEYS}
    assert names["max_age_s"] == "max_age"
    assert names["webhook_deadline_s"] == "webhook_deadline"
    assert names["retry_s"] == "retry"
    assert names["allowed_hosts"] == "allowed_hosts"


def test_switches_and_choices_are_told_apart_for_the_command_line() -> None:
    assert {key.name for key in KEYS if key.is_bool} == {"insecure_no_auth", "strict"}
    assert {key.name: key.choices for key in KEYS if key.choices} == {
        "clock": ("system", "virtual"),
        "log_format": ("text", "json"),
        "callback_auth": ("bearer", "basic", "none"),
        "msisdn_format": ("plain", "plus", "mixed"),
        "revision": ("2024", "2025"),
        "order": ("free", "conversation"),
    }


def test_importing_the_settings_does_not_import_the_toml_reader() -> None:
    code = "import sys, sandbox.settings; sys.exit('tomllib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- which writing wins


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(load: Load) -> None:
    environ = {"NINEBITS_SANDBOX_PORT": "3", "NINEBITS_SANDBOX_MAX_TEXT": "30"}
    loaded = load(toml="port = 2\nmax_text = 20\nmax_messages = 200", environ=environ, port="4")
    assert (loaded.settings.port, loaded.origin["port"]) == (4, "flag --port")
    assert (loaded.settings.max_text, loaded.origin["max_text"]) == (30, "environment NINEBITS_SANDBOX_MAX_TEXT")
    assert (loaded.settings.max_messages, loaded.origin["max_messages"]) == (200, "file ninebits-sandbox.toml")
    assert (loaded.settings.host, loaded.origin["host"]) == ("127.0.0.1", "default")


def test_a_flag_that_was_not_given_is_none_and_changes_nothing(load: Load) -> None:
    loaded = load(toml="strict = false", strict=None)
    assert loaded.settings.accounts[0].strict is False
    assert loaded.origin["strict"] == "file ninebits-sandbox.toml"


def test_an_empty_flag_unsets_what_the_file_says(load: Load) -> None:
    loaded = load(toml='client_url = "http://127.0.0.1:8000/sms"', client_url="")
    assert loaded.settings.accounts[0].client_url is None
    assert loaded.origin["client_url"] == "flag --client-url"


def test_pyproject_is_read_when_there_is_no_file_of_our_own(load: Load) -> None:
    table = "[tool.ninebits-sandbox]\nport = 5"
    loaded = load(pyproject=table)
    assert (loaded.settings.port, loaded.origin["port"]) == (5, "file pyproject.toml")
    assert load(toml="port = 6", pyproject=table).settings.port == 6


@pytest.mark.parametrize(
    "text", ["[project]\nname = 'x'", "this is no TOML", "[project]\ndependencies = ['ninebits-sandbox']"]
)
def test_a_pyproject_that_says_nothing_about_the_sandbox_is_left_alone(load: Load, text: str) -> None:
    assert load(pyproject=text).settings == Settings()


def test_a_file_can_be_named_by_flag_or_else_by_the_environment(load: Load, tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("port = 1")
    (tmp_path / "two.toml").write_text("port = 2")
    environ = {"NINEBITS_SANDBOX_CONFIG": "two.toml"}
    by_flag = load(toml="port = 3", environ=environ, file=Path("one.toml"))
    by_environment = load(environ=environ)
    assert (by_flag.settings.port, by_flag.origin["port"]) == (1, "file one.toml")
    assert (by_environment.settings.port, by_environment.origin["port"]) == (2, "file two.toml")


def test_what_client_commands_read_from_the_environment_is_not_complained_about(load: Load) -> None:
    environ = {"NINEBITS_SANDBOX_URL": "http://127.0.0.1:2081", "NINEBITS_SANDBOX_ACCOUNT": "acme", "NINEBITS_URL": "x"}
    assert load(environ=environ).settings == Settings()


def test_values_arrive_in_their_own_types(load: Load) -> None:
    settings = load(
        toml='max_body = "2 MiB"\nmax_age = "12h"\nwebhook_deadline = 0.5\nallowed_hosts = ["sms.example.com"]',
        environ={"NINEBITS_SANDBOX_INSECURE_NO_AUTH": "Yes", "NINEBITS_SANDBOX_SHORTCODES": "48974, 48975"},
        revision=2025,
        callback_auth="none",
        msisdn_format="mixed",
        order="conversation",
        retry="1,5",
        control_token="0123456789abcdef",
    ).settings
    assert (settings.max_body, settings.max_age_s, settings.webhook_deadline_s) == (2 * 1024**2, 43_200, 0.5)
    assert (settings.insecure_no_auth, settings.allowed_hosts) == (True, ("sms.example.com",))
    assert settings.control_token == "0123456789abcdef"
    [account] = settings.accounts
    assert account.shortcodes == ("48974", "48975")
    assert (account.revision, account.retry_s) == ("2025", (1, 5))
    assert account.callback_auth is CallbackAuth.NONE
    assert account.msisdn_format is MsisdnFormat.MIXED
    assert account.order is Order.CONVERSATION


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604_800), ("12h", 43_200), ("30m", 1800), ("45s", 45), ("90", 90), (" 1.5 h ", 5400)]
)
def test_durations_are_seconds_or_carry_their_unit(load: Load, text: str, seconds: int) -> None:
    assert load(max_age=text).settings.max_age_s == seconds


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("1MiB", 1_048_576), ("100", 100)])
def test_sizes_are_bytes_or_carry_their_unit(load: Load, text: str, size: int) -> None:
    assert load(max_body=text).settings.max_body == size


# --- accounts


TWO_ACCOUNTS = """
max_text = 100
[[accounts]]
client_url = "http://127.0.0.1:8000/sms"
shortcodes = ["48974"]
[[accounts]]
name = "acme"
token = "acme-token"
retry = [1, 10]
"""


def test_a_file_may_hold_several_accounts(load: Load) -> None:
    default, acme = load(toml=TWO_ACCOUNTS).settings.accounts
    assert (default.name, default.token, default.shortcodes) == ("default", "sandbox-token", ("48974",))
    assert default.retry_s == RETRY_PRESETS["documented"]
    assert acme == Account(name="acme", token="acme-token", retry_s=(1, 10))


def test_flags_and_environment_speak_of_the_first_account(load: Load) -> None:
    loaded = load(toml=TWO_ACCOUNTS, environ={"NINEBITS_SANDBOX_CLIENT_URL": "http://127.0.0.1:9/"}, token="other")
    default, acme = loaded.settings.accounts
    assert (default.token, default.client_url, default.shortcodes) == ("other", "http://127.0.0.1:9/", ("48974",))
    assert (acme.token, acme.client_url) == ("acme-token", None)
    assert loaded.origin["token"] == "flag --token"
    assert loaded.origin["shortcodes"] == "file ninebits-sandbox.toml"
    assert loaded.origin["accounts[acme].token"] == "file ninebits-sandbox.toml"
    assert loaded.origin["accounts[acme].order"] == "default"


def test_account_keys_at_the_top_of_the_file_apply_to_the_first_account(load: Load) -> None:
    toml = 'retry = "fast"\n[[accounts]]\nclient_url = "http://a/"\n[[accounts]]\nname = "b"\ntoken = "b"'
    first, second = load(toml=toml).settings.accounts
    assert (first.client_url, first.retry_s) == ("http://a/", RETRY_PRESETS["fast"])
    assert second.retry_s == RETRY_PRESETS["documented"]


def test_a_key_both_at_the_top_and_in_the_first_account_is_refused(refused: Refused) -> None:
    assert refused(toml='token = "a"\n[[accounts]]\ntoken = "b"') == [
        "file ninebits-sandbox.toml, key token: also in [[accounts]] 1; wanted only one of the two"
    ]


def test_accounts_may_not_share_a_name_or_a_token(refused: Refused) -> None:
    same = "an account above has the same; wanted one of its own"
    assert refused(toml='[[accounts]]\n[[accounts]]\nname = "default"\ntoken = "sandbox-token"') == [
        f"file ninebits-sandbox.toml, [[accounts]] 2, key name: {same}",
        f"file ninebits-sandbox.toml, [[accounts]] 2, key token: {same}",
    ]


def test_every_account_after_the_first_needs_name_and_token(refused: Refused) -> None:
    assert refused(toml="[[accounts]]\n[[accounts]]\nstrict = true") == [
        "file ninebits-sandbox.toml, [[accounts]] 2, key name: name is missing. Use one of its own.",
        "file ninebits-sandbox.toml, [[accounts]] 2, key token: token is missing. Use one of its own.",
    ]


def test_a_server_setting_inside_an_account_is_told_where_it_belongs(refused: Refused) -> None:
    assert refused(toml="[[accounts]]\nport = 1") == [
        "file ninebits-sandbox.toml, [[accounts]] 1, key port: "
        "port is a setting of the server, no account's. Leave it out."
    ]


@pytest.mark.parametrize("toml", ["accounts = 1", 'accounts = ["secret"]', '[accounts]\nname = "secret"'])
def test_accounts_of_another_shape_are_refused(refused: Refused, toml: str) -> None:
    assert refused(toml=toml) == [
        "file ninebits-sandbox.toml, key accounts: wanted one [[accounts]] table for each account"
    ]


# --- errors


WRONG_SERVER_VALUES: list[tuple[str, object, str]] = [
    ("host", "", "is empty. Use a host name or an IP address"),
    ("host", "127.0.0.1:2081", 'is "127.0.0.1:2081". Use a host name or an IP address, no port or brackets'),
    ("host", "[::1]", "no port or brackets"),
    ("port", "65536", "is 65536. Use a whole number from 0 to 65535"),
    ("port", "-1", "Use a whole number from 0 to 65535"),
    ("port", "٣", "Use a whole number"),
    ("port", "1_0", "Use a whole number"),
    ("port", True, "is true. Use a whole number"),
    ("port", 1.5, "is 1.5. Use a whole number"),
    ("port", [2081], "is [2081]. Use a whole number"),
    ("db", "", "is empty. Use a text that is not empty"),
    ("db", "a\0b", "no control characters"),
    ("insecure_no_auth", "maybe", 'is "maybe". Use true or false'),
    ("insecure_no_auth", "", "is empty. Use true or false"),
    (
        "allowed_hosts",
        "example.com:80",
        'is "example.com:80". Use host names in lower case, without scheme and port',
    ),
    ("clock", "sundial", 'is "sundial". Use one of: system, virtual.'),
    ("max_messages", "0", "Use a whole number from 1 to 100000000"),
    ("max_age", "1w", 'is "1w". Use a time from 1s to 3650d'),
    ("max_age", float("nan"), "is NaN. Use a time"),
    ("log_format", "xml", "Use one of: text, json."),
    ("max_body", "64KB", 'is "64KB". Use a size from 1 to 64MiB'),
    ("max_body", "0.3KiB", "Use a size"),
    ("webhook_deadline", "11m", "from 10ms to 10m"),
    ("header_deadline", "0", "from 100ms to 1h"),
    ("body_deadline", "2h", "from 100ms to 1h"),
    ("control_token", "x" * 15, "stays secret. Use 16 to 256 visible ASCII characters without spaces"),
]


@pytest.mark.parametrize(("name", "value", "reason"), WRONG_SERVER_VALUES)
def test_a_wrong_value_is_told_where_it_is_what_arrived_and_what_is_wanted(
    refused: Refused, name: str, value: object, reason: str
) -> None:
    [error] = refused(**{name: value})
    assert error.startswith(f"flag --{name.replace('_', '-')}: ")
    assert reason in error


def test_all_errors_come_at_once_and_each_says_where_it_is_written(refused: Refused) -> None:
    errors = refused(
        toml='port = "x"\nprot = 1\n[[accounts]]\nstrict = "?"\n[[accounts]]\nname = "b"\ntoken = "b"\norder = "any"',
        environ={"NINEBITS_SANDBOX_HOST": "a b", "NINEBITS_SANDBOX_CLOK": "virtual"},
        max_text="none",
        shortcode="1",
        ssl_keyfile="key.pem",
    )
    assert [error.partition(": ")[0] for error in errors] == [
        "file ninebits-sandbox.toml, key prot",
        "file ninebits-sandbox.toml, key port",
        "file ninebits-sandbox.toml, [[accounts]] 1, key strict",
        "environment NINEBITS_SANDBOX_CLOK",
        "environment NINEBITS_SANDBOX_HOST",
        "flag --shortcode",
        "flag --max-text",
        "flag --ssl-keyfile",
        "file ninebits-sandbox.toml, [[accounts]] 2, key order",
    ]


def test_a_wrong_value_is_refused_even_where_a_better_one_overrides_it(refused: Refused) -> None:
    [error] = refused(environ={"NINEBITS_SANDBOX_PORT": "x"}, port="1")
    assert error.startswith("environment NINEBITS_SANDBOX_PORT: ")


def test_unknown_names_are_refused_with_the_nearest_known_one(refused: Refused) -> None:
    errors = refused(
        toml="prot = 1\n[[acounts]]", environ={f"{PREFIX}TOKN": "x", f"{PREFIX}CONFG": "x"}, max_mesages="1"
    )
    assert errors == [
        'file ninebits-sandbox.toml, key prot: There is no "prot" here. Did you mean port?',
        'file ninebits-sandbox.toml, key acounts: There is no "acounts" here. Did you mean accounts?',
        f'environment {PREFIX}TOKN: There is no "{PREFIX}TOKN" here. Did you mean {PREFIX}TOKEN?',
        f'environment {PREFIX}CONFG: There is no "{PREFIX}CONFG" here. Did you mean {PREFIX}CONFIG?',
        'flag --max-mesages: There is no "--max-mesages" here. Did you mean --max-messages?',
    ]


def test_a_named_file_must_be_there(refused: Refused) -> None:
    [error] = refused(toml="port = 1", environ={"NINEBITS_SANDBOX_CONFIG": "nope.toml"})
    assert error.startswith("file nope.toml: cannot be read as TOML: ")
    assert "No such file" in error


def test_a_named_pyproject_must_hold_our_table(refused: Refused) -> None:
    errors = refused(pyproject="[project]", file=Path("pyproject.toml"))
    assert errors == ["file pyproject.toml: has no table [tool.ninebits-sandbox]"]


@pytest.mark.parametrize("toml", ["port = ", "port = 1\nport = 2", f"port = {'9' * 5000}", f"port = {'[' * 100_000}"])
def test_a_file_that_is_no_toml_is_refused_together_with_the_other_errors(refused: Refused, toml: str) -> None:
    in_file, in_flag = refused(toml=toml, port="x")
    assert in_file.startswith("file ninebits-sandbox.toml: cannot be read as TOML: ")
    assert in_flag.startswith("flag --port: ")


def test_a_file_in_another_encoding_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "Andr\xe9"')
    [error] = refused(file=Path("latin.toml"))
    assert error.startswith("file latin.toml: cannot be read as TOML: ")


@pytest.mark.parametrize("name", ["ssl_certfile", "ssl_keyfile"])
def test_certificate_and_key_come_together(load: Load, refused: Refused, name: str) -> None:
    assert load(ssl_certfile="c.pem", ssl_keyfile="k.pem").settings.ssl_keyfile == "k.pem"
    assert refused(**{name: "x.pem"}) == [
        f"flag --{name.replace('_', '-')}: {name} came alone; wanted ssl_certfile and ssl_keyfile together"
    ]


def test_errors_cannot_repaint_a_terminal(refused: Refused) -> None:
    errors = refused(toml='"\\u001b[31m" = 1', environ={f"{PREFIX}X\u202e\udc80": "1"}, host="\x1b[2J\u202e\udc80")
    assert all(error.isprintable() for error in errors)


def test_a_error_does_not_repeat_a_very_long_value(refused: Refused) -> None:
    [error] = refused(host="x " * 10_000)
    assert len(error) < 250


# --- secrets


def test_secrets_never_appear_in_a_error(refused: Refused) -> None:
    errors = refused(
        toml=f'tokn = "{CANARY}"\ntoken = "{CANARY} with blanks"\n[[accounts]]\n[[accounts]]\ntoken = ["{CANARY}"]',
        environ={
            "NINEBITS_SANDBOX_CONTROL_TOKEN": f"{CANARY}\n",
            "NINEBITS_SANDBOX_CLIENT_URL": f"https://amina:{CANARY}@/sms",
            "NINEBITS_SANDBOX_SECRET": CANARY,
        },
        client_url=f"ftp://example.com/?key={CANARY}",
        callback_auth="basic",
    )
    assert len(errors) == 8
    assert not any(CANARY in error for error in errors)


def test_secrets_never_appear_in_a_repr_or_a_row(load: Load) -> None:
    loaded = load(
        toml=f'[[accounts]]\n[[accounts]]\nname = "b"\ntoken = "b-{CANARY}"\nclient_url = "http://b:b-{CANARY}@b/?{CANARY}"',
        control_token=f"control-{CANARY}",
        token=f"token-{CANARY}",
        client_url=f"https://amina:{CANARY}@example.com/sms?key={CANARY}",
    )
    assert loaded.settings.control_token == f"control-{CANARY}"
    assert CANARY not in repr(loaded)
    assert CANARY not in repr(rows(loaded))


def test_rows_show_value_origin_and_help_of_every_key(load: Load) -> None:
    loaded = load(
        toml=TWO_ACCOUNTS,
        environ={"NINEBITS_SANDBOX_MAX_AGE": "36h"},
        control_token="0123456789abcdef",
        client_url="https://amina:pw@example.com/sms?key=1",
    )
    shown = {row.key: row for row in rows(loaded)}
    account_names = [key.name for key in KEYS if key.scope == "account"]
    assert list(shown) == [key.name for key in KEYS] + [f"accounts[acme].{name}" for name in account_names]
    assert (shown["max_age"].value, shown["max_age"].origin) == ("36h", "environment NINEBITS_SANDBOX_MAX_AGE")
    assert (shown["control_token"].value, shown["control_token"].origin) == ("0123…", "flag --control-token")
    assert shown["client_url"].value == "https://…@example.com/sms?…"
    assert (shown["token"].value, shown["accounts[acme].token"].value) == ("sand…", "…")
    assert (shown["retry"].value, shown["accounts[acme].retry"].value) == ("documented", "1, 10")
    assert (shown["strict"].value, shown["allowed_hosts"].value, shown["port"].value) == ("true", "none", "2081")
    assert all(row.help and row.origin for row in rows(loaded))


@pytest.mark.parametrize(
    ("secret", "shown"), [("", "…"), ("elevenchars", "…"), ("twelve-chars", "twel…"), ("sandbox-token", "sand…")]
)
def test_mask_shows_four_characters_of_twelve_or_more(secret: str, shown: str) -> None:
    assert mask(secret) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/sms", "http://127.0.0.1:8000/sms"),
        ("https://amina:pw@example.com/sms?key=1&k=2", "https://…@example.com/sms?…"),
        ("https://amina:p@w@example.com", "https://…@example.com"),
        ("https://example.com/@amina", "https://example.com/@amina"),
        ("https://example.com?mail=a@b", "https://example.com?…"),
        ("https://example.com/#secret", "https://example.com/#…"),
        ("amina:pw@example.com", "…@example.com"),
        ("https://amina:p\nw@example.com/?a\nb", "https://…@example.com/?…"),
    ],
)
def test_mask_url_hides_user_info_and_query(url: str, shown: str) -> None:
    assert mask_url(url) == shown


# --- account_from


def test_an_account_without_defaults_needs_name_and_token_and_has_the_documented_retries() -> None:
    assert set(problems_of({}, defaults=None)) == {"name", "token"}
    account = account_from({"name": "acme", "token": "t"})
    assert account == Account(name="acme", token="t", retry_s=RETRY_PRESETS["documented"])


def test_an_account_is_changed_only_where_the_mapping_says_so() -> None:
    old = Account(name="a", token="t", client_url="http://a/", strict=False, retry_s=(5,))
    assert account_from({}, defaults=old) == old
    assert account_from({"client_url": None, "retry": []}, defaults=old) == replace(old, client_url=None, retry_s=())


WRONG_ACCOUNT_VALUES: list[tuple[str, object]] = [
    *(("name", value) for value in ("", "A", "-a", ".a", "a b", "a" * 65, "ä", 1, None)),
    *(("token", value) for value in ("", "a b", "a" * 257, "ä", "a\n", 1, None)),
    *(("shortcodes", value) for value in ("12", "1" * 16, "48974,", ["48974", "x"], [48974], 48974, [["48974"]], None)),
    ("callback_auth", "digest"),
    ("msisdn_format", "e164"),
    ("revision", "2026"),
    *(("strict", value) for value in ("", "maybe", 2, None)),
    ("order", None),
]


@pytest.mark.parametrize(("name", "value"), WRONG_ACCOUNT_VALUES)
def test_a_wrong_account_value_is_told_with_its_key(name: str, value: object) -> None:
    assert ". Use " in problems_of({name: value})[name]


def test_all_problems_of_an_account_come_at_once() -> None:
    problems = problems_of({"name": "A", "token": "", "shortcode": ["1"], "port": 1, "retry": "never", "order": 3})
    assert problems["shortcode"] == 'There is no "shortcode" here. Did you mean shortcodes?'
    assert problems["port"] == "port is a setting of the server, no account's. Leave it out."
    assert set(problems) == {"name", "token", "shortcode", "port", "retry", "order"}


def test_a_hundred_thousand_unknown_keys_are_answered_in_a_few_lines() -> None:
    problems = problems_of({f"key{number}" * 20: 1 for number in range(100_000)})
    assert len(problems) == 20
    assert list(problems.values())[-1].endswith("There are 99980 more unknown names.")
    assert max(map(len, problems)) <= 64


GOOD_URLS = [
    *("http://127.0.0.1:8000/sms", "https://amina:pw@example.com/sms?key=1", "HTTP://localhost"),
    *("http://[::1]:8000/", "http://müller.example/ß"),
]
BAD_URLS = [
    *("127.0.0.1:8000", "ftp://example.com", "http://", "http:///sms", "http://user@/sms", "http://[example]/"),
    *("http://example.com:0/", "http://example.com:65536/", "http://example.com:http/"),
    *("http://example.com/#top", "http://example.com\\@evil.example/"),
]


@pytest.mark.parametrize("url", [*GOOD_URLS, "http://example.com/" + "a" * 2029])
def test_client_url_may_be_any_http_address(url: str) -> None:
    assert account_from({"client_url": url}, defaults=config.DEFAULT_ACCOUNT).client_url == url


@pytest.mark.parametrize("url", [*BAD_URLS, "http://example.com/" + "a" * 2030, 8000, ["http://example.com"]])
def test_client_url_must_be_an_http_address_with_a_host(url: object) -> None:
    assert problems_of({"client_url": url})["client_url"].startswith(
        "client_url is wrong, and stays secret. Use http:// or"
    )


@pytest.mark.parametrize("character", [" ", "\t", "\n", "\0", "\u202e", "\udc80"])
def test_client_url_may_not_hold_blanks_and_invisible_characters(character: str) -> None:
    assert "client_url" in problems_of({"client_url": f"http://example.com/{character}sms"})
    assert "client_url" in problems_of({"client_url": f"http://exam{character}ple.com/"})


def test_basic_callbacks_need_user_name_and_password_in_client_url() -> None:
    problems = problems_of({"callback_auth": "basic", "client_url": "http://example.com/"})
    assert problems == {
        "callback_auth": 'callback_auth is "basic". Use a client_url that holds user name and password.'
    }
    account = account_from({"callback_auth": "basic", "client_url": "http://u:p@h/"}, defaults=config.DEFAULT_ACCOUNT)
    assert set(problems_of({"client_url": "http://h/"}, defaults=account)) == {"callback_auth"}


def test_basic_callbacks_may_be_chosen_before_there_is_a_client_url() -> None:
    account = account_from({"callback_auth": "basic"}, defaults=config.DEFAULT_ACCOUNT)
    assert account.callback_auth is CallbackAuth.BASIC


def test_basic_callbacks_without_a_user_name_are_refused_wherever_they_are_written(refused: Refused) -> None:
    assert refused(environ={f"{PREFIX}CALLBACK_AUTH": "basic"}, client_url="http://h/") == [
        "environment NINEBITS_SANDBOX_CALLBACK_AUTH: "
        'callback_auth is "basic". Use a client_url that holds user name and password.'
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' {"status": "ok",\n "id": "{message_id}", "n": ["{segments}", "{"]} ',
        '{"text": "{} {two words} { to } {to"}',
    ],
)
def test_success_body_is_a_json_object_with_known_placeholders(text: str) -> None:
    assert account_from({"success_body": text}, defaults=config.DEFAULT_ACCOUNT).success_body == text


@pytest.mark.parametrize(
    "text",
    [
        "ok",
        "[]",
        '"{to}"',
        '{"id": {message_id}}',
        '{"n": NaN}',
        '{"n": -Infinity}',
        '{"n": 1e999}',
        '{"n": ' + "9" * 5000 + "}",
        '{"n": ' + "[" * 8000 + "]" * 8000 + "}",
        '{"t": "\udc80"}',
        '{"t": "\\udc80"}',
        '{"t": "' + "x" * 16_384 + '"}',
        {"status": "ok"},
        7,
    ],
)
def test_success_body_must_be_the_text_of_a_json_object(text: object) -> None:
    assert "the text of a JSON object" in problems_of({"success_body": text})["success_body"]


@pytest.mark.parametrize("text", ["{id}", "hello {To}", "{to} {ref}", "{0}", "\\u007bid}"])
def test_success_body_may_not_hold_an_unknown_placeholder(text: str) -> None:
    reason = problems_of({"success_body": f'{{"a": [{{"b": "{text}"}}]}}'})["success_body"]
    assert "Use no {placeholder} but {message_id} {from} {to}" in reason


def test_every_placeholder_that_is_accepted_can_be_filled() -> None:
    template = json.dumps({name: f"{{{name}}}" for name in payloads.PLACEHOLDERS})
    account = account_from({"success_body": template}, defaults=config.DEFAULT_ACCOUNT)
    sms = SendSms(
        shortcode=Shortcode("48974"),
        msisdn=Msisdn("2348020000000"),
        text="hi",
        session_id="s",
        sent_date="2024-01-02T23:50:37.000000Z",
        ref_id="r",
        extra={},
        warnings=(),
    )
    answer = json.loads(payloads.success(account, 12, sms, measure(sms.text)))
    assert set(answer) == set(payloads.PLACEHOLDERS)
    assert not any("{" in str(value) for value in answer.values())


# --- retries


@pytest.mark.parametrize(
    ("value", "offsets"),
    [
        ("documented", RETRY_PRESETS["documented"]),
        (" fast ", (1, 2, 4)),
        ("1, 2,86400", (1, 2, 86_400)),
        ([1, "2"], (1, 2)),
        ((5,), (5,)),
        (30, (30,)),
        ("", ()),
        ([], ()),
    ],
)
def test_retries_are_a_preset_or_offsets(value: object, offsets: tuple[int, ...]) -> None:
    assert RetryKind().read(value) == offsets


@pytest.mark.parametrize(
    "value",
    [
        *("slow", "fast,", "1,,2", "2,1", "1,1", "0", "86401", "1.5", "1m"),
        *([1, 1], [True], [None], [[1]], ["fast"], None, True, {}, list(range(1, 22))),
    ],
)
def test_retries_must_be_strictly_increasing_whole_seconds(value: object) -> None:
    with pytest.raises(ValueError, match=r"Use documented, documented-gaps, fast, or at most 20 strictly increasing"):
        RetryKind().read(value)


@given(st.lists(st.integers(-1, 86_402), max_size=22) | st.sets(st.integers(1, 86_400), max_size=20).map(sorted))
def test_retries_are_exactly_the_lists_the_contract_allows(offsets: list[int]) -> None:
    increasing = all(earlier < later for earlier, later in pairwise(offsets))
    if increasing and len(offsets) <= 20 and all(1 <= offset <= 86_400 for offset in offsets):
        assert RetryKind().read(offsets) == RetryKind().read(",".join(map(str, offsets))) == tuple(offsets)
    else:
        with pytest.raises(ValueError, match="strictly increasing"):
            RetryKind().read(offsets)


@given(st.text() | st.lists(st.text()) | st.floats() | st.dictionaries(st.text(), st.text()) | st.integers())
def test_retries_from_anything_are_either_good_or_refused(value: object) -> None:
    try:
        offsets = RetryKind().read(value)
    except ValueError:
        return
    assert list(offsets) == sorted(set(offsets))
    assert all(1 <= offset <= 86_400 for offset in offsets)


# --- where the server listens


@pytest.mark.parametrize(
    ("host", "beyond"),
    [
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.0.2", True),
        ("127.0.0.1.example.com", True),
        ("localhost.example.com", True),
    ],
)
def test_only_loopback_is_not_beyond_loopback(load: Load, host: str, beyond: bool) -> None:
    assert load(host=host).settings.beyond_loopback is beyond
