"""A message of each direction, an attempt and a refused call, for tests that change what matters to them."""

from dataclasses import replace

from sandbox.model import (
    Attempt,
    Direction,
    Encoding,
    Message,
    MessageState,
    Msisdn,
    Problem,
    RecordedRequest,
    Shortcode,
    Trigger,
)

AT_MS = 1_704_239_437_000  # 2024-01-02T23:50:37Z

MT = Message(
    seq=1,
    account="default",
    direction=Direction.MT,
    msisdn=Msisdn("2348020000000"),
    shortcode=Shortcode("48974"),
    text="When was the last time you went to the cinema?",
    session_id="67543uhn3",
    ref_id=None,
    sent_date="2024-01-02T23:50:37.000000Z",
    at_ms=AT_MS,
    telco="mtn",
    encoding=Encoding.GSM7,
    segments=1,
    state=MessageState.ARRIVED,
)
MO = replace(MT, direction=Direction.MO, text="Yesterday", state=MessageState.UNROUTED)
ATTEMPT = Attempt(delivery_seq=1, number=1, trigger=Trigger.SCHEDULED, started_ms=AT_MS, offset_ms=0)
REFUSED = RecordedRequest(
    seq=1,
    account="default",
    at_ms=AT_MS,
    method="POST",
    path="/ng/v1/sendsms",
    client="127.0.0.1",
    headers=(),
    body=b'{"to": "0802"}',
    status_code=400,
    answer=b"{}",
    problems=(Problem(field="to", code="msisdn_length", message="what", hint="how"),),
    warnings=(),
)
