#!/usr/bin/env bash
# py-smsify replaces letters that GSM-7 has, and counts long messages short.
#
# Guessed: a library for "GSM-7 compatible SMS messages" leaves what the GSM
# 7-bit default alphabet (3GPP TS 23.038) has as it is, such as the pound sign
# and the accented letters of French and Spanish, and transliterates the rest;
# and a text of 307 letters is three messages, since parts of a long one hold
# 153 (six octets of each go to the header that joins them).
#
# Seen instead: every text goes through ASCII first. The pound sign becomes
# "GBP", the euro sign "EUR", e with an accent e; so a price grows by two
# letters for each sign. And 307 letters are two messages: the count divides by
# 160 however long the text is, unless `twilio=True` is given.
#
# Versions: py-smsify 0.2.1 with anyascii 0.3.3, counted as well with
# smsutil 1.1.0 (PyPI).
#
# Who trips: whoever prices by its `segments`, or sends text in a language for
# whose sake the alphabet has those letters.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
./venv/bin/pip install --quiet --disable-pip-version-check 'py-smsify==0.2.1' 'anyascii==0.3.3' 'smsutil==1.1.0'

cat > probe.py <<'PY'
from importlib.metadata import version

import smsutil
from py_smsify import SmsMessage

print("versions: py-smsify", version("py-smsify"), "smsutil", version("smsutil"))
POUND, EURO, E_ACUTE = "\u00a3", "\u20ac", "\u00e9"
wrong = 0


def check(what, got, want):
    global wrong
    print(f"{what:44} {got!a}")
    if got != want:
        wrong += 1
        print(f"  CHANGED: expected {want!a}")


check("5 pounds, as it is sent", SmsMessage(POUND + "5").encoded_text, "GBP5")  # the surprise
check("5 euros", SmsMessage(EURO + "5").encoded_text, "EUR5")
check("e with an accent", SmsMessage(E_ACUTE).encoded_text, "e")
check("in the GSM alphabet, by smsutil", [smsutil.is_valid_gsm(each) for each in (POUND, EURO, E_ACUTE)], [True] * 3)
check("307 letters, messages", SmsMessage("a" * 307).segments, 2)  # the surprise
check("the same, by smsutil", len(smsutil.split("a" * 307).parts), 3)
check("the same, with twilio=True", SmsMessage("a" * 307, twilio=True).segments, 3)
check("160 letters", SmsMessage("a" * 160).segments, 1)  # as guessed
if wrong:
    raise SystemExit(f"{wrong} output(s) differ from what was seen with py-smsify 0.2.1")
print("as stated: ASCII first, and 160 letters to each part")
PY
./venv/bin/python probe.py || { echo "FAIL: py-smsify no longer writes and counts as described" >&2; exit 1; }
