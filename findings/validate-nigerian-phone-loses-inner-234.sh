#!/usr/bin/env bash
# validate-nigerian-phone cuts digits out of numbers that hold 234 twice.
#
# Guessed: NigerianPhone("+2348020002340").formatted() gives the national form
# 08020002340, as its README shows for another number, and whatever is_valid()
# accepts is formatted as the same subscriber's eleven digits.
#
# Seen instead: is_valid() is True, the operator is named, and formatted() is
# 080200000, nine digits. The country code is taken off by replacing "234" by
# "0" wherever it stands in the number, not at its start alone. The same
# subscriber written 08020002340 comes out whole. phonenumbers, as a second
# opinion, gives 08020002340 for both.
# The same library also refuses whole blocks in use (0912, 0913, 0915, 0916)
# that phonenumbers calls valid mobile numbers of Airtel, MTN, Glo, MTN.
#
# Versions: validate-nigerian-phone 1.0.0, phonenumbers 9.0.43 (PyPI). The
# numbers are made up, with zeros in the subscriber part.
#
# Who trips: an application that stores the sender of an incoming SMS or the
# addressee of a report in national form. Gateways send 234..., so the loss
# happens on that side only: the key no longer matches the customer's record,
# a reply goes nowhere, and no error was raised because "valid" was True.
# About one number in 200 holds 234 again in its last seven digits. In a block
# that ends in 2, such as 802, one in 100 more begins 80234 and is refused.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
./venv/bin/pip install --quiet --disable-pip-version-check 'validate-nigerian-phone==1.0.0' 'phonenumbers==9.0.43'

cat > probe.py <<'PY'
from importlib.metadata import version

import phonenumbers
from phonenumbers import carrier
from validate_nigerian_phone import NigerianPhone

print("versions: validate-nigerian-phone", version("validate-nigerian-phone"),
      "phonenumbers", version("phonenumbers"))


def small(text):
    phone = NigerianPhone(text)
    return phone.is_valid(), phone.formatted(), phone.get_network()


def big(text):
    number = phonenumbers.parse(text, "NG")
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    return (phonenumbers.is_valid_number(number), national.replace(" ", ""),
            carrier.name_for_number(number, "en"))


expected = [
    # as guessed: no second 234
    ("+2348020000000", (True, "08020000000", "airtel"), (True, "08020000000", "Airtel")),
    # the surprise: valid, but digits are gone
    ("+2348020002340", (True, "080200000", "airtel"), (True, "08020002340", "Airtel")),
    ("2348032340000", (True, "080300000", "mtn"), (True, "08032340000", "MTN")),
    # where the second 234 begins inside the block, the number is refused
    ("2348023400000", (False, "080000000", "unknown"), (True, "08023400000", "Airtel")),
    # the same subscribers in national form stay whole
    ("08020002340", (True, "08020002340", "airtel"), (True, "08020002340", "Airtel")),
    ("08032340000", (True, "08032340000", "mtn"), (True, "08032340000", "MTN")),
    ("08023400000", (True, "08023400000", "airtel"), (True, "08023400000", "Airtel")),
    # one library's valid number is another's invalid one
    ("+2349120000000", (False, "09120000000", "unknown"), (True, "09120000000", "Airtel")),
    ("+2349130000000", (False, "09130000000", "unknown"), (True, "09130000000", "MTN")),
    ("+2349150000000", (False, "09150000000", "unknown"), (True, "09150000000", "Glo")),
    ("+2349160000000", (False, "09160000000", "unknown"), (True, "09160000000", "MTN")),
]
wrong = 0
for text, want_small, want_big in expected:
    got_small, got_big = small(text), big(text)
    print(f"{text:15} validate-nigerian-phone {got_small!s:34} phonenumbers {got_big}")
    if (got_small, got_big) != (want_small, want_big):
        wrong += 1
        print(f"  CHANGED: expected {want_small} and {want_big}")
if wrong:
    raise SystemExit(f"{wrong} output(s) differ from what was seen")
print("as stated: valid numbers that hold 234 twice lose digits")
PY
./venv/bin/python probe.py || { echo "FAIL: validate-nigerian-phone or phonenumbers behaves differently now" >&2; exit 1; }
