"""How tests look at pages without a browser: as one account, without JavaScript, and wary of what is none of ours."""

import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import requests

from tests.conftest import Bench

ADA, BEN = "2348020000000", "2347030000000"
CHAT = f"/c/48974/{ADA}"
HOSTILE = "</textarea></pre><script>alert(1)</script>\"' onload='x' {{ 7 * 7 }} &lt;b&gt;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who looks at the pages of one account."""

    bench: Bench

    def get(self, path: str, **query: str | int) -> requests.Response:
        return self._call("GET", path, query)

    def post(self, path: str, **form: str) -> requests.Response:
        """A form as a browser sends it; the redirect is not followed."""
        return self._call("POST", path, {}, data=form or {"_": ""})

    def _call(self, method: str, path: str, query: dict[str, str | int], **more: object) -> requests.Response:
        params = {"account": self.bench.account, **query}
        answer = self.bench.sandbox.request(method, path, params=params, allow_redirects=False, **more)
        assert not Intruders.in_page(answer.text)
        return answer

    def page(self, path: str, **query: str | int) -> str:
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.text

    def text(self, path: str, **query: str | int) -> str:
        return read(self.page(path, **query))

    def done(self, path: str, **form: str) -> str:
        """Post a form that is accepted. Returns where it leads, without the account."""
        answer = self.post(path, **form)
        assert answer.status_code == 303, read(answer.text)
        return answer.headers["location"].replace(f"?account={self.bench.account}", "")

    def told(self, path: str, status: int = 400, **form: str) -> str:
        """Post a form that is not accepted. Returns how the page reads that says so."""
        answer = self.post(path, **form)
        assert answer.status_code == status, read(answer.text)
        return read(answer.text)


def read(page: str) -> str:
    """A page as it reads: without tags, entities resolved, blanks collapsed."""
    bare = re.sub(r"<(script|style|svg|title).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def typed_in(page: str, name: str) -> str:
    """What stands in an area of text, as a browser would send it."""
    found = re.search(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def turn(page: str) -> str | None:
    """The step of a run that has its turn, as it reads; None if none has."""
    found = re.search(r'<li[^>]* aria-current="step">(.*?)</li>', page, re.DOTALL)
    return None if found is None else read(found[1])


class Intruders(HTMLParser):
    """What a browser would run, or fetch, that is none of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def in_page(cls, page: str) -> list[str]:
        made = cls()
        made.feed(page)
        made.close()
        return made.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            ours = value is not None and value.startswith(("/", "#")) and not value.startswith("//")
            if name.startswith("on") or name == "style" or (name in ("src", "href", "action") and not ours):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("style", "iframe", "object", "base") or (tag == "script" and "src" not in dict(attrs)):
            self.found.append(tag)
