"""The pretend gateway: what the application talks to. One verb, `submit`: authenticate, validate, record, answer.

It knows no HTTP server: a `GatewayCall` comes in as plain values and a `GatewayAnswer` goes out as
bytes. Everything that is refused is recorded as carefully as what is accepted.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, assert_never

from sandbox.clock import Clock, to_iso
from sandbox.core.accounts import AccountCache
from sandbox.core.faults import LiveFaults, Use, problem_of
from sandbox.core.network import RetentionPolicy, new_session_id, trim_now_and_then
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.errors import StorageError
from sandbox.model import (
    Account,
    Direction,
    Drop,
    EventType,
    FaultEffect,
    FaultOn,
    Message,
    MessageState,
    Problem,
    RecordedRequest,
)
from sandbox.store import journal, messages
from sandbox.store.database import Database, Tx
from sandbox.wire import payloads
from sandbox.wire.credentials import bearer_token, mask_authorization
from sandbox.wire.numbers import telco_of
from sandbox.wire.problems import mask, problem, quote, status_of
from sandbox.wire.requests import SendSms, parse
from sandbox.wire.text import measure

log = logging.getLogger(__name__)

PATH = "/ng/v1/sendsms"  # [D]


class GatewayCall(NamedTuple):
    """One HTTP request to the gateway, as it came."""

    method: str
    path: str
    client: str
    headers: Sequence[tuple[bytes, bytes]]  # names in lower case
    body: bytes
    over_limit: int | None = None  # the limit that the body broke; then `body` is what was read of it

    def values(self, name: bytes) -> Sequence[str]:
        """Every value of a header."""
        return [value.decode("latin-1") for each, value in self.headers if each == name]


class GatewayAnswer(NamedTuple):
    """What the gateway says. `request_id` names the record that explains it; None if nothing could be recorded.

    `use` is the fault that says how the answer goes out, if it does. A `status_code` of 0 is no answer.
    """

    status_code: int
    body: bytes
    request_id: str | None
    use: Use | None = None


class Gateway:
    """The two-way SMS gateway of all accounts."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountCache,
        faults: LiveFaults,
        runner: ScenarioRunner,
        *,
        keeping: RetentionPolicy,
        max_text: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._faults = faults
        self._runner = runner
        self._keeping = keeping
        self._max_text = max_text

    async def submit(self, call: GatewayCall) -> GatewayAnswer:
        """Accept or refuse a call. The answer is given after its record is durable."""
        account, judged = self._judge(call)
        try:
            if account is not None and account.name in self._faults.sendsms:
                use = self._use(call, account, judged)
                if use is not None:
                    try:
                        return await self._database.write(partial(self._strike, call, account, judged, use))
                    finally:  # a use that was not recorded strikes the next call
                        use.give_back()
            if isinstance(judged, SendSms) and account is not None:
                return await self._database.write(partial(self._accept, call, account, judged))
            assert not isinstance(judged, SendSms)
            return await self._database.write(partial(self._refuse, call, account, judged))
        except StorageError as error:
            log.error("A call was answered 503: %s", error)
            body = payloads.failure(503, [problem("storage", reason=str(error))])
            return GatewayAnswer(status_code=503, body=body, request_id=None)

    def _judge(self, call: GatewayCall) -> tuple[Account | None, SendSms | Sequence[Problem]]:
        """Whose call it is, and the message in it or all that is wrong with it. Changes nothing."""
        credentials = call.values(b"authorization")
        token = problem("not_bearer") if len(credentials) > 1 else bearer_token(credentials[0] if credentials else None)
        account = None if isinstance(token, Problem) else self._accounts.by_token(token)
        if call.path != PATH:
            return account, [problem("not_found", path=quote(call.path))]
        if call.method != "POST":
            return account, [problem("method_not_allowed", method=call.method)]
        if isinstance(token, Problem):
            return None, [token]
        if account is None:
            return None, [problem("unknown_token", masked=mask(token))]
        if call.over_limit is not None:
            return account, [problem("body_too_large", limit=call.over_limit)]
        content_types = call.values(b"content-type")
        if content_types != ["application/json"] and not _is_json(content_types):
            value = quote(", ".join(content_types)) if content_types else "missing"
            return account, [problem("content_type", value=value)]
        parsed = parse(call.body, strict=account.strict, max_text=self._max_text)
        if isinstance(parsed, SendSms) and account.shortcodes and parsed.shortcode not in account.shortcodes:
            return account, [
                problem(
                    "foreign_shortcode",
                    "from",
                    shortcode=parsed.shortcode,
                    account=account.name,
                    shortcodes=", ".join(account.shortcodes),
                )
            ]
        return account, parsed

    def _accept(self, call: GatewayCall, account: Account, sms: SendSms, tx: Tx) -> GatewayAnswer:
        if self._accounts.get(account.name) is None:  # it was removed in the meantime
            return self._refuse(call, None, [problem("unknown_token", masked=mask(account.token))], tx)
        now_ms = self._clock.now_ms()
        seq = journal.announce(tx, EventType.MESSAGE_SUBMITTED, at_ms=now_ms, account=account.name, msisdn=sms.msisdn)
        if sms.session_id is None or sms.sent_date is None:  # a lenient account
            sms = sms._replace(
                session_id=sms.session_id or self._session(tx, account, sms, seq, now_ms),
                sent_date=sms.sent_date or to_iso(now_ms),
            )
        measured = measure(sms.text)
        body = payloads.success(account, seq, sms, measured)
        messages.insert_mt(
            tx,
            seq,
            now_ms,
            account.name,
            sms,
            telco_of(sms.msisdn),
            measured,
            messages.Submission(call.client, _kept(call.headers), call.body, body),
        )
        if self._runner.playing(account.name):
            self._runner.accepted(tx, seq)
        trim_now_and_then(tx, seq, now_ms, self._keeping)
        return GatewayAnswer(status_code=200, body=body, request_id=f"r{seq}")

    def _session(self, tx: Tx, account: Account, sms: SendSms, seq: int, now_ms: int) -> str:
        """The session of a message that came without one, in lenient mode: the conversation's last, else a new one."""
        last = messages.last_session(tx, account=account.name, msisdn=sms.msisdn, shortcode=sms.shortcode)
        return last[1] if last else new_session_id(seq, now_ms)

    def _use(self, call: GatewayCall, account: Account, judged: SendSms | Sequence[Problem]) -> Use | None:
        """The account's fault that this call fits, taken: one with a match fits only a message that would be
        accepted, one without every POST to the gateway's path."""
        if call.path != PATH or call.method != "POST":
            return None
        sms = judged if isinstance(judged, SendSms) else None
        return self._faults.take(
            FaultOn.SENDSMS, account.name, lambda: None if sms is None else _message(account, sms, self._clock.now_ms())
        )

    def _strike(
        self, call: GatewayCall, account: Account, judged: SendSms | Sequence[Problem], use: Use, tx: Tx
    ) -> GatewayAnswer:
        """Record a call that a fault strikes, and the use of the fault. What it does to the connection, and how much
        later, is left to the door: a message is there at once, even while its answer is kept back."""
        if self._accounts.get(account.name) is None:  # it was removed in the meantime
            return self._refuse(call, None, [problem("unknown_token", masked=mask(account.token))], tx)
        effect = use.fault.effect
        fault = self._faults.count(tx, use, self._clock.now_ms())
        told = problem_of(fault, _in_words(effect))
        if effect.status is not None:
            body = payloads.failure(effect.status, [told]) if effect.body is None else effect.body.encode()
            answer = self._refuse(call, account, [told], tx, instead=(effect.status, body))
        elif effect.hold or effect.drop is Drop.REFUSED:
            answer = self._refuse(call, account, [told], tx, instead=(0, b""))
        elif isinstance(judged, SendSms):
            answer = self._accept(call, account, judged._replace(warnings=(*judged.warnings, told.message)), tx)
        else:
            answer = self._refuse(call, account, judged, tx, besides=[told])
        return answer._replace(use=use)

    def _refuse(
        self,
        call: GatewayCall,
        account: Account | None,
        problems: Sequence[Problem],
        tx: Tx,
        *,
        instead: tuple[int, bytes] | None = None,
        besides: Sequence[Problem] = (),
    ) -> GatewayAnswer:
        """Record a refusal. `instead` is answered instead of the problems; `besides` is recorded and not answered."""
        now_ms = self._clock.now_ms()
        status_code = status_of(problems[0].code)
        status_code, body = instead or (status_code, payloads.failure(status_code, problems))
        name = account.name if account else None
        seq = journal.announce(tx, EventType.MESSAGE_REFUSED, at_ms=now_ms, account=name)
        refused = RecordedRequest(
            seq=seq,
            account=name,
            at_ms=now_ms,
            method=call.method,
            path=call.path,
            client=call.client,
            headers=(),
            body=call.body,
            status_code=status_code,
            answer=body,
            problems=(*problems, *besides),
            warnings=(),
        )
        messages.insert_refusal(tx, refused, _kept(call.headers))
        trim_now_and_then(tx, seq, now_ms, self._keeping)
        return GatewayAnswer(status_code=status_code, body=body, request_id=f"r{seq}")


def _message(account: Account, sms: SendSms, now_ms: int) -> Message:
    """A message as it will be, for those who want to know before it is accepted."""
    measured = measure(sms.text)
    return Message(
        seq=0,
        account=account.name,
        direction=Direction.MT,
        msisdn=sms.msisdn,
        shortcode=sms.shortcode,
        text=sms.text,
        session_id=sms.session_id or "",
        ref_id=sms.ref_id,
        sent_date=sms.sent_date or "",
        at_ms=now_ms,
        telco=telco_of(sms.msisdn),
        encoding=measured.encoding,
        segments=measured.segments,
        state=MessageState.ACCEPTED,
    )


def _in_words(effect: FaultEffect) -> str:
    """What a fault does to a call."""
    after = f" after {effect.delay_s:g} s" if effect.delay_s else ""
    if effect.hold:
        return "the call is held without an answer"
    if effect.status is not None:
        return f"{effect.status} is answered{after}"
    match effect.drop:
        case None:
            return f"the answer comes{after}"
        case Drop.REFUSED:
            return f"the connection is closed{after} without an answer"
        case Drop.ACCEPTED:
            return f"the connection is closed{after}, and the answer is lost"
        case Drop.BODY:
            return f"the answer is cut off in the middle of its body{after}"
        case _:
            assert_never(effect.drop)


def _is_json(content_types: Sequence[str]) -> bool:
    """Whether the one content type is JSON; a charset parameter is fine if it is UTF-8."""
    if len(content_types) != 1:
        return False
    media, _, parameters = content_types[0].partition(";")
    if media.strip().lower() != "application/json":
        return False
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            return False
    return True


_SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie"})


def _kept(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Headers as they may be recorded: secrets masked."""
    return messages.header_lines(
        [
            (name, mask_authorization(value.decode("latin-1")).encode()) if name in _SECRET else (name, value)
            for name, value in headers
        ]
    )
