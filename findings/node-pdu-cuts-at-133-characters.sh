#!/usr/bin/env bash
# node-pdu sends a 134-character GSM text as two messages.
#
# Guessed: the limits of 3GPP TS 23.038 and 23.040. A text in the GSM alphabet
# goes into one message up to 160 septets and then into parts of 153; a UCS-2
# text up to 70 characters, then 67. The euro sign and e with acute accent are
# in the tables, so a text with one stays GSM; the section sign is sent as 0x5F.
#
# Seen instead: one message up to 133 characters and parts of 133 after that;
# for UCS-2 up to 63 and parts of 63. The 140 octets of a message are used as if
# they were 140 septets, and seven places are kept free for the concatenation header
# even where there is one part and no header. So 160 letters cost two messages,
# 306 cost three, 70 naira signs two. A euro sign or an accented e turns the
# whole text into UCS-2, and a section sign or a tab leaves as a space (0x20),
# without an error. Setting the "compressed" flag is no way out: it changes the
# data coding octet that is sent, and 160 letters are still two parts.
#
# Versions: node-pdu 2.1.1; second opinion sms-segments-calculator 1.3.0 (npm).
#
# Who trips: an application that quotes a price or waits for as many delivery
# reports as a part counter says, and sends through a modem with this library:
# the two disagree on every text of 134 to 160 letters. A received text that
# is compared with the sent one lacks its section sign.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund node-pdu@2.1.1 sms-segments-calculator@1.3.0 >/dev/null

cat > probe.js <<'JS'
const fs = require('fs');
const { Submit, parse, utils } = require('node-pdu');
const { SegmentedMessage } = require('sms-segments-calculator');

const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`, 'utf8')).version;
console.log('versions: node-pdu', version('node-pdu'), 'sms-segments-calculator', version('sms-segments-calculator'));

const TO = '+2348020000000';
const NAIRA = '\u20a6';
let wrong = 0;
function check(label, got, want) {
  const same = JSON.stringify(got) === JSON.stringify(want);
  console.log(label.padEnd(18), JSON.stringify(got), same ? '' : `CHANGED: expected ${JSON.stringify(want)}`);
  if (!same) wrong += 1;
}

// How many messages: [node-pdu's part lengths, the other library's count].
function parts(text) {
  return [new Submit(TO, text).data.parts.map((part) => part.text.length), new SegmentedMessage(text).segmentsCount];
}
check('133 letters', parts('a'.repeat(133)), [[133], 1]);
check('134 letters', parts('a'.repeat(134)), [[133, 1], 1]);
check('160 letters', parts('a'.repeat(160)), [[133, 27], 1]);
check('161 letters', parts('a'.repeat(161)), [[133, 28], 2]);
check('306 letters', parts('a'.repeat(306)), [[133, 133, 40], 2]);
check('63 naira signs', parts(NAIRA.repeat(63)), [[63], 1]);
check('70 naira signs', parts(NAIRA.repeat(70)), [[63, 7], 1]);

// What is sent: [the PDU's octets after the address, as read back, the other library's alphabet].
// Octets: protocol id, data coding (00 GSM, 08 UCS-2), length, text.
function sent(text) {
  const pdu = new Submit(TO, text).toString();
  return [pdu.slice('0001000D91328420000000F0'.length), parse(pdu).data.getText(), new SegmentedMessage(text).encodingName];
}
check('two letters', sent('ab'), ['0000026131', 'ab', 'GSM-7']);
check('euro sign', sent('\u20ac'), ['00080220AC', '\u20ac', 'GSM-7']);
check('e acute', sent('\u00e9'), ['00080200E9', '\u00e9', 'GSM-7']);
check('section sign', sent('\u00a7'), ['00000120', ' ', 'GSM-7']);
check('tab', sent('\t'), ['00000120', ' ', 'UCS-2']);

const coding = new utils.DCS().setTextCompressed(true);
const flagged = new Submit(TO, 'a'.repeat(160), { dataCodingScheme: coding });
check('160, compressed', [flagged.data.parts.length, coding.getValue()], [2, 32]);

if (wrong) {
  console.log(`${wrong} output(s) differ from what was seen with node-pdu 2.1.1`);
  process.exit(1);
}
console.log('as stated: node-pdu cuts at 133 letters and 63 UCS-2 characters');
JS
node probe.js || { echo "FAIL: node-pdu no longer cuts messages and replaces characters as described" >&2; exit 1; }
