"""The Authorization header: which token a call carries, and how a token may be shown.

Only the form of the header. See core/gateway.py for which account a token belongs to.
"""

import base64
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from sandbox.model import Account, CallbackAuth, Problem
from sandbox.wire.problems import mask, problem

_SCHEMES = frozenset({"bearer", "basic", "digest", "token"})


def bearer_token(authorization: str | None) -> str | Problem:
    """The token in `Authorization: Bearer <api token>` [D]; the scheme's case does not matter (RFC 9110, 11.1)."""
    if authorization is None:
        return problem("no_authorization")
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        return problem("not_bearer")
    return token


@lru_cache(64)  # an application sends the same one with every call
def mask_authorization(value: str) -> str:
    """An Authorization header as it may be recorded: the scheme, and the rest masked.

    What is no known scheme is masked too: with the two the wrong way round, it is the token.
    """
    scheme, blank, rest = value.partition(" ")
    if not blank or scheme.lower() not in _SCHEMES:
        return mask(value)
    return f"{scheme} {mask(rest.strip())}"


def callback_authorization(account: Account) -> str | None:
    """The Authorization header that a webhook carries.

    `bearer`: the account's own token [D]; `basic`: user name and password from the callback URL [W]; `none` [W].
    """
    if account.callback_auth is CallbackAuth.BEARER:
        return f"Bearer {account.token}"
    if account.callback_auth is CallbackAuth.NONE or account.client_url is None:
        return None
    url = urlsplit(account.client_url)
    pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
