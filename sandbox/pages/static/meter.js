// How a text travels in an SMS: alphabet, parts, and what forced UCS-2. The same rules as sandbox/wire/text.py
// (3GPP TS 23.038, TS 23.040), against which the tests hold it.

const BASIC =
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
  "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSION = "\f^{}\\[~]|€"; // two septets each, which stay together

const isBasic = new Set(BASIC);
const isExtended = new Set(EXTENSION);

/** Where and what GSM-7 cannot carry, as [index in UTF-16 units, character]. */
export function forcing(text) {
  const found = [];
  let at = 0;
  for (const character of text) {
    if (!isBasic.has(character) && !isExtended.has(character)) found.push([at, character]);
    at += character.length;
  }
  return found;
}

/** Encoding, parts, units used, and units left in the last part. */
export function measure(text) {
  const ucs2 = forcing(text).length > 0;
  const [single, part] = ucs2 ? [70, 67] : [160, 153];
  const sizes = [...text].map((character) => (ucs2 ? character.length : isExtended.has(character) ? 2 : 1));
  const units = sizes.reduce((sum, size) => sum + size, 0);
  const encoding = ucs2 ? "UCS-2" : "GSM-7";
  if (units <= single) return { encoding, segments: 1, units, left: single - units };
  let segments = 1;
  let filled = 0;
  for (const size of sizes) {
    if (filled + size > part) {
      segments += 1;
      filled = 0;
    }
    filled += size;
  }
  return { encoding, segments, units, left: part - filled };
}
