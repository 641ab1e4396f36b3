#!/usr/bin/env bash
# smssafe leaves the hooked letters of Hausa out of a message.
#
# Guessed: a library that turns any text into GSM-7, and that writes the Yoruba
# and Igbo letters e, o, i, u with a dot below without their dots, writes the
# Hausa letters with a hook (U+0253, U+0257, U+0199) as b, d, k, as Nigerians do
# on a keyboard without them, and as anyascii does.
#
# Seen instead: the dotted letters lose their dots, the hooked ones go
# altogether: "kasa" (earth) written with its hook becomes "asa". The result
# lists them as `remaining_unsafe`; `is_clean` is False for both, and the text
# in `sanitized` no longer has them.
#
# Versions: smssafe 0.0.1, compared with anyascii 0.3.3 (PyPI).
#
# Who trips: whoever sends `sanitized` to readers of Hausa, the second language
# of SMS in Nigeria, without looking at `remaining_unsafe`.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
./venv/bin/pip install --quiet --disable-pip-version-check 'smssafe==0.0.1' 'anyascii==0.3.3'

cat > probe.py <<'PY'
from importlib.metadata import version

from anyascii import anyascii
from smssafe import sanitize

print("versions: smssafe", version("smssafe"), "anyascii", version("anyascii"))
KASA, BERA, DAN = "\u0199asa", "\u0253era", "\u0257an"
expected = [
    # text, sanitized, how many letters went, by anyascii
    (KASA, "asa", 1, "kasa"),  # the surprise
    (BERA, "era", 1, "bera"),
    (DAN, "an", 1, "dan"),
    ("\u1eb9ran \u1ecdm\u1ecd", "eran omo", 0, "eran omo"),  # as guessed: Yoruba
    ("\u1eccn\u1ee5 \u1ecbgba", "Onu igba", 0, "Onu igba"),  # as guessed: Igbo
    ("kasa", "kasa", 0, "kasa"),
]
wrong = 0
for text, sanitized, gone, ascii_text in expected:
    result = sanitize(text)
    got = (result.sanitized, len(result.remaining_unsafe), anyascii(text))
    print(f"{text!a:22} smssafe {got[0]!r:12} gone {got[1]} anyascii {got[2]!r}")
    if got != (sanitized, gone, ascii_text):
        wrong += 1
        print(f"  CHANGED: expected {(sanitized, gone, ascii_text)!a}")
if wrong:
    raise SystemExit(f"{wrong} output(s) differ from what was seen with smssafe 0.0.1")
print("as stated: hooked letters go, dotted letters lose their dots")
PY
./venv/bin/python probe.py || { echo "FAIL: smssafe no longer treats Hausa letters as described" >&2; exit 1; }
