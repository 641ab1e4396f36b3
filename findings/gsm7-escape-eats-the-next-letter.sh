#!/usr/bin/env bash
# gsm7 writes a bare escape for what GSM-7 lacks, which changes the next letter.
#
# Guessed: encode() of a character that the GSM 7-bit default alphabet
# (3GPP TS 23.038) lacks, such as the naira sign or a typographic quotation
# mark, throws, or writes a question mark or a space; the letters behind it
# arrive as they are.
#
# Seen instead: it writes the octet of the escape to the extension table (0x1B)
# and nothing after it. So the letter that follows is looked up in that table:
# a typographic quotation mark before "end" makes the receiver read a euro sign
# and "nd", and a naira sign before "(2)" a curly bracket. Where the table has
# nothing, TS 23.038 lets a phone show the letter of the basic table; this
# library's own decode() writes the word "undefined": a price of 500 naira comes
# back as "undefined00".
#
# Versions: gsm7 1.3.1 (npm), read back with itself and, unpacked here, with the
# alphabet of smpp 0.5.1 (npm).
#
# Who trips: whoever sends prices in naira, or text that a word processor or a
# phone has given its quotation marks and dashes, through a modem.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts gsm7@1.3.1 smpp@0.5.1 >/dev/null

cat > probe.js <<'JS'
const fs = require('fs');
const gsm7 = require('gsm7');
const { encodings } = require('smpp');

const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`, 'utf8')).version;
console.log('versions: gsm7', version('gsm7'), 'smpp', version('smpp'));

const NAIRA = '\u20a6', OPEN = '\u201c', CLOSE = '\u201d', DASH = '\u2013';
let wrong = 0;

/** Septets out of octets, so that another library can read them. */
function unpacked(octets, count) {
  const bits = [...octets].map((each) => each.toString(2).padStart(8, '0')).reverse().join('');
  return Buffer.from(Array.from({ length: count }, (_, at) => parseInt(bits.slice(bits.length - 7 * (at + 1), bits.length - 7 * at), 2)));
}

function check(text, count, own, other) {
  const octets = gsm7.encode(text);
  const got = [gsm7.decode(octets), encodings.ASCII.decode(unpacked(octets, count))];
  const same = JSON.stringify(got) === JSON.stringify([own, other]);
  console.log(JSON.stringify(text).padEnd(14), octets.toString('hex').padEnd(14), 'itself', JSON.stringify(got[0]).padEnd(16), 'smpp', JSON.stringify(got[1]));
  if (!same) {
    wrong += 1;
    console.log(`  CHANGED: expected ${JSON.stringify([own, other])}`);
  }
}

check('a(2)', 4, 'a(2)', 'a(2)'); // as guessed
check('5\u20ac', 3, '5\u20ac', '5\u20ac'); // as guessed: the escape where it belongs
check(`${OPEN}end${CLOSE}.`, 6, '\u20acndundefined', '\u20acnd\u001b.'); // the surprise
check(`x${DASH}<y`, 4, 'x[y', 'x[y');
check(`${NAIRA}(2)`, 4, '{2)', '{2)');
check(`${NAIRA}500`, 4, 'undefined00', '\u001b500');
if (wrong) {
  console.log(`${wrong} output(s) differ from what was seen with gsm7 1.3.1`);
  process.exit(1);
}
console.log('as stated: a bare escape, and another letter behind it');
JS
node probe.js || { echo "FAIL: gsm7 no longer writes a bare escape as described" >&2; exit 1; }
