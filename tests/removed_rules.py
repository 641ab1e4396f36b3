"""The access and safety rules, and for each a test that has to fail once the rule is removed.

A rule is removed from a copy of the project: `python tests/removed_rules.py [WORD …]` does it for all of them, or for
those whose names hold a word, and prints a table. tests/test_removed_rules.py holds the same against the code with
every `-m slow`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("sandbox", "templates", "tests", "docs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds; in which file, as `there`; what stands there without the rule; the test that sees it."""

    surface: str
    name: str
    file: str
    there: str
    without: str
    test: str


def _rules(surface: str, file: str, tests: str, *rows: tuple[str, str, str, str]) -> list[Rule]:
    """Rules of one file and one file of tests; a test of another file names it."""
    return [
        Rule(
            surface=surface,
            name=name,
            file=f"sandbox/{file}",
            there=there,
            without=without,
            test=test if "::" in test else f"{tests}::{test}",
        )
        for name, there, without, test in rows
    ]


ACCESS = "tests/http/test_access.py"
RULES: Sequence[Rule] = (
    *_rules(
        "inbound",
        "http/access.py",
        ACCESS,
        ("not two Hosts", '.count(b"host") == 1', '.count(b"host") > 0', "test_a_request_carries_exactly_one_host"),
        (
            "no request without a Host",
            '        host = found.get(b"host")\n',
            '        host, hosts = found.setdefault(b"host", b"localhost"), True\n',
            "test_a_request_carries_exactly_one_host",
        ),
        ("no empty Host", "if not hosts or not host:", "if not hosts:", "test_a_request_carries_exactly_one_host"),
        ("no Host but our own", "if not self._is_allowed(host) and", "if False and", "test_another_host_is_refused"),
        (
            "not the unspecified address",
            'return not (getattr(address, "ipv4_mapped", None) or address).is_unspecified',
            "return True",
            "test_another_host_is_refused",
        ),
        (
            "no name with a dot that is not listed",
            'return name == "localhost." or name.endswith(".localhost")',
            "return True",
            "test_any_other_host_is_not_us",
        ),
        (
            "no address in disguise",
            'isalnum() and not name.isdecimal() and not name.startswith("0x")',
            "isalnum()",
            "test_any_other_host_is_not_us",
        ),
        (
            "the gateway's exemption needs a token that is known",
            'return scheme.lower() == "bearer" and self._accounts.by_token(token.strip()) is not None',
            "return True",
            "test_the_gateway_takes_any_host_from_who_knows_a_token",
        ),
        (
            "the exemption is the gateway's alone",
            "not (to_gateway and self._knows_token",
            "not (self._knows_token",
            "test_an_accounts_token_opens_nothing_else",
        ),
        (
            "the rules hold for static files",
            "            self._check(scope, to_gateway=to_gateway)\n",
            '            if not scope["path"].startswith(STATIC):\n'
            "                self._check(scope, to_gateway=to_gateway)\n",
            "test_a_hostile_page_gets_nothing_from_any_route",
        ),
        (
            "the rules hold for streams",
            "            self._check(scope, to_gateway=to_gateway)\n",
            '            if not scope["path"].endswith("/events"):\n'
            "                self._check(scope, to_gateway=to_gateway)\n",
            "test_a_hostile_page_gets_nothing_from_any_route",
        ),
        (
            "the rules hold for the gateway",
            "            self._check(scope, to_gateway=to_gateway)\n",
            "            if not to_gateway:\n                self._check(scope, to_gateway=to_gateway)\n",
            "test_a_hostile_page_gets_nothing_from_any_route",
        ),
        (
            "no other Origin",
            "if origin is not None and origin not in",
            "if False and origin not in",
            "test_another_origin_is_refused",
        ),
        (
            "not the Origin null",
            "if origin is not None and origin not in",
            'if origin not in (None, b"null") and origin not in',
            "test_another_origin_is_refused",
        ),
        (
            "no other Sec-Fetch-Site",
            'if found.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none") and not',
            "if False and not",
            "test_a_request_from_another_site_is_refused",
        ),
        (
            "same-site is another site",
            'not in (b"same-origin", b"none") and',
            'not in (b"same-origin", b"same-site", b"none") and',
            "test_a_request_from_another_site_is_refused",
        ),
        (
            "a link is followed to pages alone",
            'and not scope["path"].startswith((GATEWAY, CONTROL, STATIC))',
            "",
            "test_following_a_link_from_another_site_to_anything_else_is_not",
        ),
        (
            "a link is no frame",
            ' and found.get(b"sec-fetch-dest") == b"document"',
            "",
            "test_a_page_in_a_frame_of_another_site_is_refused",
        ),
        (
            "a link is no form",
            'return navigates and scope["method"] == "GET" and',
            "return navigates and",
            "test_a_form_from_another_site_is_refused_though_it_navigates",
        ),
        (
            "the control API is changed with JSON",
            "            if media != wanted:\n",
            "            if media != wanted and not is_control:\n",
            "test_the_control_api_is_changed_with_json_alone",
        ),
        (
            "pages are changed with simple forms",
            "            if media != wanted:\n",
            "            if media != wanted and is_control:\n",
            "test_pages_are_changed_with_simple_forms_alone",
        ),
        (
            "never multipart",
            "            if media != wanted:\n",
            '            if media != wanted and media != b"multipart/form-data":\n',
            "test_pages_are_changed_with_simple_forms_alone",
        ),
        (
            "PATCH and PUT change too",
            'if method in ("POST", "PUT", "PATCH"):',
            'if method == "POST":',
            "test_the_control_api_is_changed_with_json_alone",
        ),
        (
            "no CORS headers",
            '    (b"referrer-policy", b"no-referrer"),\n',
            '    (b"access-control-allow-origin", b"*"),\n    (b"referrer-policy", b"no-referrer"),\n',
            "test_there_is_no_cors",
        ),
        (
            "headers have a limit",
            "            raise _AccessRefused(431)\n",
            "            pass\n",
            "test_headers_may_be_16_kib_long",
        ),
        (
            "targets have a limit",
            "            raise _AccessRefused(414)\n",
            "            pass\n",
            "test_a_target_may_be_8_kib_long",
        ),
        (
            "bodies have a limit, as announced",
            'if name == b"content-length" and value.isdigit() and int(value) > limit:',
            "if False:",
            "test_a_body_over_the_limit_is_answered_413_and_the_connection_is_closed",
        ),
        (
            "bodies have a limit, as they come",
            "        if size > limit:\n",
            "        if False:\n",
            "tests/http/test_gateway_route.py::test_a_body_of_300_mib_costs_no_memory",
        ),
    ),
    *_rules(
        "connections",
        "http/limits.py",
        "tests/http/test_limits.py",
        (
            "headers have a deadline",
            "            case ConnectionState.HEAD if waited_s > self._limits.header_deadline_s:\n",
            "            case ConnectionState.HEAD if False:\n",
            "test_a_request_that_does_not_come_in_whole_is_answered_408_by_its_deadline",
        ),
        (
            "bodies have a deadline",
            "            case ConnectionState.BODY if waited_s > self._limits.body_deadline_s:\n",
            "            case ConnectionState.BODY if False:\n",
            "test_a_request_that_does_not_come_in_whole_is_answered_408_by_its_deadline",
        ),
        (
            "so has a first request",
            "            case ConnectionState.FRESH if waited_s > self._limits.header_deadline_s:\n",
            "            case ConnectionState.FRESH if False:\n",
            "test_a_connection_without_a_request_is_closed_without_a_word",
        ),
        (
            "no connection idles for ever",
            "            case ConnectionState.IDLE if waited_s > KEEP_ALIVE_S:\n",
            "            case ConnectionState.IDLE if False:\n",
            "test_a_connection_is_kept_for_a_pool_and_not_for_ever",
        ),
        (
            "answers are taken",
            "                self.transport.abort()\n",
            "                pass\n",
            "test_a_client_that_does_not_take_its_answer_is_dropped",
        ),
        (
            "heads are refused before they are stored",
            "                elif self._count > self._limits.max_head:\n",
            "                elif False:\n",
            "test_what_has_no_end_is_refused_before_it_is_stored[value]",
        ),
        (
            "so are targets",
            "                if len(self.url) > self._limits.max_target:\n",
            "                if False:\n",
            "test_what_has_no_end_is_refused_before_it_is_stored[target]",
        ),
        (
            "so is what stands around chunks",
            "                if self._count > self._limits.max_unbroken:\n",
            "                if False:\n",
            "test_what_has_no_end_is_refused_before_it_is_stored[trailer]",
        ),
        (
            "connections have a number",
            "            raise _HeadRefused(503)\n",
            "            pass\n",
            f"{ACCESS}::test_a_connection_too_many_is_told_when_to_try_again",
        ),
        (
            "connections too many have one",
            "            if self._over and excess > SPARE:\n",
            "            if False:\n",
            "test_connections_far_beyond_the_limit_are_answered_before_they_ask",
        ),
        (
            "idle connections make room",
            "            self._over = not self._limits.make_room(self.connections)\n",
            "            self._over = True\n",
            "test_a_connection_that_idles_makes_room_the_longest_one_first",
        ),
        (
            "requests that wait have a number",
            "        if len(self.pipeline) >= MOST_WAITING:\n",
            "        if False:\n",
            "test_only_so_many_requests_may_wait_on_a_connection",
        ),
        (
            "trailers are no headers",
            "        self.headers = []  #",
            "        #",
            "test_a_trailer_is_no_header",
        ),
        (
            "who waits behind a stream leaves with it",
            "            self._ahead.disconnected = True\n",
            "",
            "test_a_stream_with_a_request_behind_it_ends_as_it_should_when_its_client_leaves",
        ),
        (
            "a wish for another protocol loses no body",
            "            self._go_on_plainly(data[upgrade.args[0] :])\n",
            "",
            "test_a_request_that_asks_for_another_protocol_is_answered_in_this_one",
        ),
    ),
    *_rules(
        "connections",
        "api/events.py",
        "tests/api/test_event_stream.py",
        (
            "event streams have a number",
            "if services.listeners.count >= services.settings.max_event_streams:",
            "if False:",
            "test_there_are_so_many_streams_at_once_and_no_more",
        ),
    ),
    *_rules(
        "beyond loopback",
        "http/access.py",
        ACCESS,
        (
            "the control token is asked for",
            "            self._check_login(scope, found, is_page=is_page)\n",
            "            pass\n",
            "test_the_control_api_asks_for_the_control_token",
        ),
        (
            "the cookie does not hold the token",
            'return hashlib.sha256(b"login:" + control_token.encode()).hexdigest()',
            "return control_token",
            "test_the_login_cookie_does_not_hold_the_token",
        ),
        (
            "nothing else is open",
            'OPEN = frozenset({"/livez", "/readyz", "/login"})',
            'OPEN = frozenset({"/livez", "/readyz", "/login", "/settings"})',
            "test_a_page_leads_to_the_login",
        ),
    ),
    *_rules(
        "beyond loopback",
        "server.py",
        "tests/commands/test_serving.py",
        (
            "without a token one is made",
            "        return secrets.token_urlsafe(24)\n",
            "        return None\n",
            "test_beyond_loopback_a_control_token_is_made_printed_and_asked_for",
        ),
    ),
    *_rules(
        "beyond loopback",
        "commands/serving.py",
        "tests/commands/test_serving.py",
        ("no token is loud", "WARNING    anybody", "anybody", "test_insecure_no_auth_says_so_loudly"),
    ),
    *_rules(
        "beyond loopback",
        "settings.py",
        "tests/test_settings.py",
        (
            "a token is long",
            "[!-~]{16,256}",
            "[!-~]{1,256}",
            "test_a_wrong_value_is_told_where_it_is_what_arrived_and_what_is_wanted",
        ),
        (
            "what loopback is",
            r"localhost|::1|127(\.[0-9]{1,3}){3}",
            r"localhost|::1|127\..*",
            "test_only_loopback_is_not_beyond_loopback",
        ),
    ),
    *_rules(
        "beyond loopback",
        "pages/routes.py",
        "tests/pages/test_routes.py",
        (
            "no script reads the cookie",
            "            httponly=True,\n",
            "",
            "test_login_asks_once_and_the_cookie_opens_every_page",
        ),
        (
            "no other site sends the cookie",
            '            samesite="strict",\n',
            "",
            "test_login_asks_once_and_the_cookie_opens_every_page",
        ),
    ),
    *_rules(
        "outbound",
        "webhooks/poster.py",
        "tests/webhooks/test_poster.py",
        (
            "http and https only",
            'if parts.scheme not in ("http", "https"):',
            "if False:",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "not where clouds keep credentials",
            "if plain.is_link_local or plain in _METADATA:",
            "if False:",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "nor their other addresses",
            "if plain.is_link_local or plain in _METADATA:",
            "if plain.is_link_local:",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "nor in the disguise of IPv6",
            "return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address",
            "return address",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "not the unspecified address",
            "    if plain.is_unspecified:\n",
            "    if False:\n",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "not a group",
            "if plain.is_multicast else None",
            "if False else None",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "each address of a name is judged",
            "        for address in addresses:\n            if reason",
            "        for address in addresses[:1]:\n            if reason",
            "test_what_may_not_be_posted_to_is_forbidden",
        ),
        (
            "not the sandbox itself",
            "if any(port == target.port and _covers(host, address) for host, port in own):",
            "if False:",
            "test_the_sandbox_itself_is_not_posted_to",
        ),
        (
            "the address that was checked",
            "            str(address),\n            port,\n",
            "            name or 'app.invalid',\n            port,\n",
            "test_a_name_is_looked_up_once_and_its_addresses_are_tried_in_turn",
        ),
        (
            "one deadline for all",
            "async with asyncio.timeout(self._deadline_s):",
            "async with asyncio.timeout(None):",
            "test_the_deadline_ends_an_answer_that_does_not_come_and_frees_the_connection",
        ),
        (
            "16 KiB of an answer",
            "        self._answer.body += data[:left]\n",
            "        self._answer.body += data\n",
            "test_16_kib_of_an_answer_are_kept_and_a_longer_one_is_not_downloaded",
        ),
        (
            "no header breaks out",
            "        if authorization and not authorization.isprintable():\n",
            "        if False:\n",
            "test_a_token_that_would_break_out_of_its_header_is_not_sent",
        ),
        (
            "certificates are checked",
            "ssl=self._tls if name else None,",
            "ssl=ssl._create_unverified_context() if name else None,",
            "test_only_a_trusted_certificate_for_the_name_is_posted_to",
        ),
    ),
    *_rules(
        "screen",
        "http/access.py",
        ACCESS,
        (
            "nothing is loaded from elsewhere",
            "default-src 'none'; ",
            "",
            "test_nothing_may_be_loaded_or_framed_from_elsewhere",
        ),
        ("no frames", "; frame-ancestors 'none'\"", '"', "test_nothing_may_be_loaded_or_framed_from_elsewhere"),
        (
            "scripts are our own",
            "script-src 'self'; ",
            "script-src 'self' 'unsafe-inline'; ",
            "test_nothing_may_be_loaded_or_framed_from_elsewhere",
        ),
        (
            "nosniff on pages",
            '    (b"x-content-type-options", b"nosniff"),\n    (b"referrer-policy"',
            '    (b"referrer-policy"',
            "test_every_answer_of_ours_carries_every_security_header_once",
        ),
        (
            "nosniff on the gateway",
            'GATEWAY_HEADERS: Headers = (JSON, (b"x-content-type-options", b"nosniff"))',
            "GATEWAY_HEADERS: Headers = (JSON,)",
            "test_the_gateway_adds_no_header_but_nosniff",
        ),
        (
            "no referrer",
            '    (b"referrer-policy", b"no-referrer"),\n',
            "",
            "test_every_answer_of_ours_carries_every_security_header_once",
        ),
        (
            "on refusals too",
            "(PROBLEM, *PAGE_HEADERS), problem_json",
            "(PROBLEM,), problem_json",
            "test_every_answer_of_ours_carries_every_security_header_once",
        ),
        (
            "on streams too",
            '        if message["type"] == "http.response.start":\n            message["headers"] = [*',
            '        if message["type"] == "http.response.start" and b"content-length" in dict(message["headers"]):\n'
            '            message["headers"] = [*',
            "test_the_event_stream_carries_every_security_header_once",
        ),
    ),
    *_rules(
        "screen",
        "pages/render.py",
        "tests/pages/test_hostile_texts.py",
        (
            "everything is escaped",
            "        autoescape=True,\n",
            "        autoescape=False,\n",
            "test_a_hostile_text_is_shown_literally_and_changes_nothing_else",
        ),
    ),
    *_rules(
        "screen",
        "pages/formatting.py",
        "tests/pages/test_hostile_texts.py",
        (
            "what turns text round is visible",
            r"\u2028-\u202e",
            r"\u2028-\u2029",
            "test_a_hostile_text_is_shown_literally_and_changes_nothing_else",
        ),
    ),
    *_rules(
        "log and terminal",
        "commands/serving.py",
        "tests/commands/test_serving.py",
        (
            "one event, one line",
            "            return settings.visible(super().format(record))\n",
            "            return super().format(record)\n",
            "test_an_event_of_the_log_is_one_line_of_visible_characters",
        ),
    ),
    *_rules(
        "log and terminal",
        "settings.py",
        "tests/test_settings.py",
        (
            "user info is masked",
            'url = re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\\1…@", url)',
            "",
            "test_mask_url_hides_user_info_and_query",
        ),
        (
            "queries are masked",
            'return re.sub(r"([?#]).*", r"\\1…", url, flags=re.DOTALL)',
            "return url",
            "test_mask_url_hides_user_info_and_query",
        ),
    ),
    *_rules(
        "log and terminal",
        "core/gateway.py",
        "tests/http/test_gateway_route.py",
        (
            "tokens are masked",
            '_SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie"})',
            '_SECRET = frozenset({b"cookie"})',
            "test_no_record_holds_a_token_however_it_was_sent",
        ),
        (
            "cookies are masked",
            '_SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie"})',
            '_SECRET = frozenset({b"authorization", b"proxy-authorization"})',
            "test_cookies_are_masked_in_the_record",
        ),
    ),
    *_rules(
        "patterns",
        "rules/matching.py",
        "tests/rules/test_matching.py",
        (
            "a pattern has its time",
            "timeout=PATTERN_S, concurrent=True",
            "timeout=None, concurrent=True",
            "test_a_catastrophic_pattern_ends_with_a_difference_that_says_so",
        ),
        ("and its length", "MAX_PATTERN = 200", "MAX_PATTERN = 100_000", "test_a_mistake_is_complained_about"),
        (
            "and sees so much",
            "self.compiled.search(text[:SEEN]",
            "self.compiled.search(text",
            "test_a_pattern_sees_the_first_2048_characters",
        ),
    ),
)


@contextmanager
def copy() -> Iterator[Path]:
    """A copy of the project, from which rules can be taken out."""
    with tempfile.TemporaryDirectory(prefix="removed-rules-") as folder:
        for name in COPIED:
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, folder)
        yield Path(folder)


@contextmanager
def taken_out(rule: Rule, folder: Path) -> Iterator[None]:
    """The copy without the rule, while the block runs."""
    path = folder / rule.file
    whole = path.read_text(encoding="utf-8")
    assert rule.there in whole, f"{rule.file} holds no {rule.there!r}"
    path.write_text(whole.replace(rule.there, rule.without), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")


def run(folder: Path, *tests: str, patience_s: float = 600) -> "subprocess.CompletedProcess[str]":
    """Run tests of the copy, up to the first that fails."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


def verdict(rule: Rule, folder: Path) -> str:
    """What happens to the rule's test without it: "fails", also if it never ends where a deadline is gone."""
    with taken_out(rule, folder):
        try:
            done = run(folder, rule.test, patience_s=60)
        except subprocess.TimeoutExpired:
            return "fails"
    if done.returncode == 1 and "failed" in done.stdout:
        return "fails"
    return f"exit code {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"


def main() -> int:
    words = sys.argv[1:]
    rules = [rule for rule in RULES if not words or any(word in f"{rule.surface} {rule.name}" for word in words)]
    missing = 0
    with copy() as folder:
        whole = run(folder, *dict.fromkeys(rule.test for rule in rules))
        if whole.returncode:
            print(whole.stdout[-3000:])
            return 1
        print("| surface | rule | test that fails without it | tried |\n| --- | --- | --- | --- |")
        for rule in rules:
            said = verdict(rule, folder)
            missing += said != "fails"
            print(f"| {rule.surface} | {rule.name} | {rule.test} | {said} |", flush=True)
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
