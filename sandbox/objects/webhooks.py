"""Webhook deliveries, their attempts, and what a look at a client_url found."""

from sandbox.model import DeliveryState, OutcomeKind, Trigger
from sandbox.objects.derive import (
    account_name,
    api_object,
    base64_of,
    described,
    event_number,
    identifier,
    part,
    timestamp,
)
from sandbox.objects.messages import Header


@api_object
class Attempt:
    """One POST of a webhook delivery."""

    number: int = described(example=1, minimum=1)
    trigger: str = described(choices=Trigger)
    offset_s: float = described("Seconds since the first failure; 0 for the attempts before it.", 0)
    started_at: str = timestamp()
    duration_ms: float | None = described("Real milliseconds. Null, like what follows, while it is under way.", 12.5)
    outcome: str | None = described(choices=OutcomeKind)
    status_code: int | None = described("Of the application's answer.", 200)
    error: str | None = described("What went wrong, in words.", None)
    response_headers: tuple[Header, ...]
    response_body: str = described("The first 16 KiB of the application's answer.", "{}")
    response_body_base64: str | None = base64_of()
    warnings: tuple[str, ...] = described("What is accepted, but would better be otherwise.")


@api_object
class ListedWebhookDelivery:
    """One payload owed to the application, as it stands in a list."""

    id: str = identifier("w", "The webhook delivery.")
    seq: int = event_number()
    account: str = account_name()
    message_id: str = identifier("m", "The message that it carries.")
    url: str = described("Where it is posted; user, password and query are masked.", "http://127.0.0.1:8000/sms")
    state: str = described(example="delivered", choices=DeliveryState)
    created_at: str = timestamp()
    next_attempt_at: str | None = timestamp("When it is tried next; null if that is not planned.", None)
    redelivery_of: str | None = identifier("w", "The webhook delivery whose bytes it repeats.", example=None)
    edited: bool = described(
        "Whether somebody wrote the body anew for this redelivery, or for the one that it repeats."
    )
    body: str = described("What is posted, byte for byte, by every attempt.", "{}")
    attempts: int = described("How many were begun.", 1, minimum=0)


@api_object
class WebhookDeliveryObject(ListedWebhookDelivery):
    """One payload owed to the application, with its attempts."""

    attempts: tuple[Attempt, ...] = described("The first one first.")  # type: ignore[assignment]  # same key, more of it


@part
class CheckObject:
    """One thing that was looked at."""

    name: str = described(choices=("url", "dns", "tcp", "tls", "http", "json"))
    ok: bool | None = described("Null: it was not tried.", True)
    detail: str = described("What was found.")
    hint: str = described("What to do; empty if there is nothing.")
    duration_ms: float = described("Real milliseconds.", 0.5, minimum=0)


@api_object
class ReportObject:
    """What stands in the way of webhooks, if anything does."""

    url: str | None = described("What was examined; user, password and query are masked.", "http://127.0.0.1:8000/sms")
    ok: bool = described("Whether nothing is wrong, as far as was looked.", True)
    checks: tuple[CheckObject, ...] = described("In turn; what comes after one that failed is not tried.")
