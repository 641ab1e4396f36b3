"""Serialisation of the model to JSON bytes: what the gateway answers, and what it posts to `client_url`.

Keys stand in the documented order. Only the form is decided here, not the content. JSON is UTF-8 with
unescaped letters and one blank after comma and colon, as on the documentation pages.
"""

import json
import re
from collections.abc import Mapping, Sequence

from sandbox.model import Account, Msisdn, MsisdnFormat, Problem, Shortcode
from sandbox.wire.numbers import wire_msisdn
from sandbox.wire.requests import SendSms
from sandbox.wire.text import Measure

PLACEHOLDERS = ("message_id", "from", "to", "session_id", "ref_id", "sent_date", "encoding", "segments")
"""What `{…}` in a string value of `success_body` may name."""

_dumps = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_quote = json.encoder.encode_basestring

_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")  # other braces are text


def to_json(value: object) -> bytes:
    """JSON as this sandbox writes it everywhere on the wire."""
    return _dumps(value).encode()


def success(account: Account, seq: int, sms: SendSms, measured: Measure) -> bytes:
    """The body of a 200 for the message of that number: the default shape [S], or the account's own template."""
    if account.success_body is None:
        return b'{"status_code": 200, "message": "Message accepted", "reference_id": "m%d"}' % seq
    facts: dict[str, object] = {
        "message_id": f"m{seq}",
        "from": sms.shortcode,
        "to": sms.msisdn,
        "session_id": sms.session_id,
        "ref_id": sms.ref_id,
        "sent_date": sms.sent_date,
        "encoding": measured.encoding,
        "segments": measured.segments,
    }
    return to_json(_fill(json.loads(account.success_body), facts))


def _fill(template: object, facts: Mapping[str, object]) -> object:
    """Placeholders replaced in all strings; a string that is one placeholder and nothing else takes the fact's type."""
    if isinstance(template, dict):
        return {key: _fill(value, facts) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, facts) for value in template]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    if alone:
        return facts[alone[1]]
    return _PLACEHOLDER.sub(lambda match: "" if facts[match[1]] is None else str(facts[match[1]]), template)


def failure(status: int, problems: Sequence[Problem]) -> bytes:
    """The body of a refusal [S]: status, one line, and every problem with its code and hint."""
    fields = sum(each.field is not None for each in problems)
    line = f"{fields} fields are invalid" if fields > 1 and fields == len(problems) else problems[0].message
    errors = [{"field": each.field, "code": each.code, "message": each.message, "hint": each.hint} for each in problems]
    return to_json({"status_code": status, "message": line, "errors": errors})


def two_way_sms(
    *,
    telco: str,
    msisdn: Msisdn,
    shortcode: Shortcode,
    text: str,
    session_id: str,
    sent_date: str,
    ref_id: str,
    revision: str,
    form: MsisdnFormat,
    turn: int,
) -> bytes:
    """The body of the webhook that carries an MO message, keys in the documented order [D].

    `ref_id` follows as the last key in the later revision only [R]. `turn` counts the conversation's MO messages, for
    the number format that alternates.
    """
    last = f', "ref_id": {_quote(ref_id)}' if revision == "2025" else ""
    return (
        f'{{"type": "two-way sms", "telco": {_quote(telco)}, "from": "{wire_msisdn(msisdn, form, turn)}", '
        f'"to": "{shortcode}", "message": {_quote(text)}, "session_id": {_quote(session_id)}, '
        f'"sent_date": "{sent_date}"{last}}}'
    ).encode()
