"""The Authorization header as callers write it, what of a secret may be shown, and what a webhook carries."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.model import Account, CallbackAuth, Problem
from sandbox.wire.credentials import bearer_token, callback_authorization, mask_authorization
from sandbox.wire.problems import mask

SECRET = "k3y-0f-th3-4pplic4tion"


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(f"Bearer {SECRET}", id="documented"),
        pytest.param(f"bearer {SECRET}", id="lower case"),
        pytest.param(f"BEARER {SECRET}", id="upper case"),
        pytest.param(f"Bearer   {SECRET}", id="several blanks"),
        pytest.param(f"Bearer {SECRET} ", id="blank at the end"),
    ],
)
def test_the_token_stands_behind_the_word_bearer(authorization: str) -> None:
    assert bearer_token(authorization) == SECRET


def code(authorization: str | None) -> str:
    found = bearer_token(authorization)
    assert isinstance(found, Problem)
    return found.code


def test_no_header_is_told_to_send_one() -> None:
    assert code(None) == "no_authorization"


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="empty"),
        pytest.param(SECRET, id="the token alone"),
        pytest.param("Bearer", id="the word alone"),
        pytest.param("Bearer ", id="the word and a blank"),
        pytest.param(f"Basic {SECRET}", id="another scheme"),
        pytest.param(f"Token {SECRET}", id="an invented scheme"),
        pytest.param(f"{SECRET} Bearer", id="the wrong way round"),
        pytest.param(f"Bearer: {SECRET}", id="colon"),
        pytest.param(f"Bearer={SECRET}", id="equals sign"),
        pytest.param(f"Bearer\t{SECRET}", id="tab"),
        pytest.param(f"Bearer Bearer {SECRET}", id="the word twice"),
        pytest.param(f"Bearer {SECRET} {SECRET}", id="two tokens"),
        pytest.param(f" Bearer {SECRET}", id="blank before"),
    ],
)
def test_what_is_not_the_form_of_the_header_is_told_so(authorization: str) -> None:
    assert code(authorization) == "not_bearer"


# Masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("", "…"),
        ("short", "…"),
        ("elevenchars", "…"),
        ("twelve-chars", "twel…"),
        ("sandbox-token", "sand…"),
    ],
)
def test_a_mask_shows_four_characters_of_a_long_secret_and_nothing_of_a_short_one(secret: str, shown: str) -> None:
    assert mask(secret) == shown


@pytest.mark.parametrize(
    ("authorization", "shown"),
    [
        pytest.param(f"Bearer {SECRET}", "Bearer k3y-…", id="bearer"),
        pytest.param(f"bearer  {SECRET} ", "bearer k3y-…", id="with more blanks"),
        pytest.param("Basic dXNlcjpwYXNzd29yZA==", "Basic dXNl…", id="basic"),
        pytest.param("Bearer short", "Bearer …", id="short token"),
        pytest.param("Bearer", "…", id="the word alone"),
        pytest.param(SECRET, "k3y-…", id="the token alone"),
        pytest.param(f"{SECRET} Bearer", "k3y-…", id="the wrong way round"),
        pytest.param(f"Bearer:{SECRET} x", "Bear…", id="no blank behind the scheme"),
        pytest.param(f"Bearer\t{SECRET}", "Bear…", id="tab"),
    ],
)
def test_a_recorded_header_shows_its_scheme_and_masks_the_rest(authorization: str, shown: str) -> None:
    assert mask_authorization(authorization) == shown


header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)
tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=5, max_size=40)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(tokens, st.sampled_from(["Bearer {}", "bearer {}", "Basic {}", "{}", "{} Bearer", "Key {}", "{} {}", "X={} y"]))
def test_no_five_characters_of_a_token_in_a_row_are_ever_shown(token: str, form: str) -> None:
    shown = mask_authorization(form.format(token, token))
    for scheme in ("Bearer ", "bearer ", "Basic "):
        shown = shown.removeprefix(scheme)
    assert not any(token[at : at + 5] in shown for at in range(len(token) - 4))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(header_texts)
def test_any_header_has_a_verdict_and_a_mask(authorization: str) -> None:
    assert bearer_token(authorization)
    assert mask_authorization(authorization).endswith("…")


# What a webhook carries --------------------------------------------------------------------------------------------


def account(auth: CallbackAuth, client_url: str | None = "http://127.0.0.1:8000/sms") -> Account:
    return Account(name="default", token="sandbox-token", client_url=client_url, callback_auth=auth)


def test_a_webhook_carries_the_accounts_token() -> None:
    assert callback_authorization(account(CallbackAuth.BEARER)) == "Bearer sandbox-token"


def test_a_webhook_may_carry_nothing() -> None:
    assert callback_authorization(account(CallbackAuth.NONE)) is None


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        pytest.param("http://user:password@127.0.0.1/sms", "user:password", id="plain"),
        pytest.param("http://us%40er:p%3Aw%20d@127.0.0.1/sms", "us@er:p:w d", id="percent-encoded"),
        pytest.param("http://user@127.0.0.1/sms", "user:", id="no password"),
        pytest.param("http://:password@127.0.0.1/sms", ":password", id="no user name"),
        pytest.param("http://%E2%82%A6:p@127.0.0.1/sms", "₦:p", id="beyond ASCII"),
    ],
)
def test_a_webhook_may_carry_user_name_and_password_of_its_url(url: str, pair: str) -> None:
    carried = callback_authorization(account(CallbackAuth.BASIC, url))
    assert carried is not None
    scheme, _, encoded = carried.partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", pair)
