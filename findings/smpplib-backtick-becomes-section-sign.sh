#!/usr/bin/env bash
# A backtick sent with smpplib arrives as a section sign.
#
# Guessed: the backtick ` (U+0060) is not in the GSM 7-bit default alphabet
# (3GPP TS 23.038), so make_parts() falls back to UCS-2 for a text with one,
# as it does for a tab or for the naira sign. The section sign (U+00A7) is in
# the alphabet, at 0x5F, so a text with one stays GSM.
#
# Seen instead: exactly the other way round. make_parts() encodes the backtick
# as the octet 0x5F with data_coding 0, without an error; a reader that follows
# the table shows a section sign there. And a text with a real section sign is
# turned into UCS-2: 70 characters a message, not 160. The library's table
# writes a backtick at every place it leaves out, 0x5F among them, and looks
# characters up in that same table. (The docstring of gsm_encode() warns that
# the default alphabet is the vendor's; make_parts() uses it unless told not to.)
#
# Versions: smpplib 2.2.4, read back with the codec of gsm0338 1.1.0 (PyPI).
#
# Who trips: an application that sends codes or commands between backticks,
# or compares the text of a delivery report or of a handset with the one it
# sent, or that prices messages by "is every character in the GSM table".
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
./venv/bin/pip install --quiet --disable-pip-version-check 'smpplib==2.2.4' 'six==1.17.0' 'gsm0338==1.1.0'

cat > probe.py <<'PY'
from importlib.metadata import version

import gsm0338
from smpplib.gsm import make_parts

print("versions: smpplib", version("smpplib"), "gsm0338", version("gsm0338"))
TABLE = gsm0338.Codec()
SECTION, NAIRA = "\u00a7", "\u20a6"


def sent(text):
    """What make_parts() puts on the wire, and what a table reader makes of it."""
    parts, coding, _ = make_parts(text)
    assert len(parts) == 1, parts
    shown = TABLE.decode(parts[0])[0] if coding == 0 else parts[0].decode("utf-16-be")
    return coding, parts[0].hex(), shown


def allowed(text):
    """Whether the second library can write the text in the GSM alphabet."""
    try:
        TABLE.encode(text)
    except UnicodeEncodeError:
        return False
    return True


expected = [
    # text, (data_coding, octets, as read), in the GSM alphabet?
    ("a`b", (0, "615f62", "a" + SECTION + "b"), False),         # the surprise
    ("a" + SECTION + "b", (8, "006100a70062", "a" + SECTION + "b"), True),  # and its twin
    ("a\tb", (8, "006100090062", "a\tb"), False),               # as guessed
    ("a" + NAIRA + "b", (8, "006120a60062", "a" + NAIRA + "b"), False),     # as guessed
    ("a_b", (0, "611162", "a_b"), True),                        # as guessed
]
wrong = 0
for text, want, want_allowed in expected:
    got, ok = sent(text), allowed(text)
    print(f"{text!a:12} data_coding {got[0]} octets {got[1]:14} read as {got[2]!a:12} in the alphabet: {ok}")
    if (got, ok) != (want, want_allowed):
        wrong += 1
        print(f"  CHANGED: expected {want!a}, in the alphabet: {want_allowed}")
if wrong:
    raise SystemExit(f"{wrong} output(s) differ from what was seen with smpplib 2.2.4")
print("as stated: the backtick leaves as 0x5F, the section sign as UCS-2")
PY
./venv/bin/python probe.py || { echo "FAIL: smpplib no longer swaps backtick and section sign as described" >&2; exit 1; }
