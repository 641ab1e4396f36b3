// The meter's face: what a text will cost, and the characters that force UCS-2, marked where they stand.
import { forcing, measure } from "./meter.js";

export function meterTexts() {
  const text = document.querySelector("textarea[data-meter]");
  if (!text) return;
  text.addEventListener("input", () => show(text));
  text.addEventListener("scroll", () => (document.getElementById("mirror").scrollTop = text.scrollTop));
  document.getElementById("foreign").addEventListener("click", (event) => next(text, event.target.closest("button")));
  show(text);
  if (matchMedia("(pointer: fine)").matches) text.focus({ preventScroll: true }); // no keyboard over a small screen
}

function show(text) {
  const { encoding, segments, left } = measure(text.value);
  const found = forcing(text.value);
  mark(text.value, found);
  document.getElementById("meter").hidden = !text.value;
  const over = [...text.value].length - Number(text.dataset.most);
  const parts = segments === 1 ? "1 part" : `${segments} parts`;
  document.getElementById("measure").textContent =
    over > 0 ? `${over} characters too many` : `${encoding}, ${parts}, ${left} left`;
  document.getElementById("foreign").replaceChildren(...chips(found));
}

/** A copy of the text lies under it: it lends the text its height, and shows the marks. */
function mark(value, found) {
  const pieces = [];
  let end = 0;
  for (const [at, character] of found) {
    const marked = document.createElement("mark");
    marked.textContent = character;
    pieces.push(value.slice(end, at), marked);
    end = at + character.length;
  }
  document.getElementById("mirror").replaceChildren(...pieces, `${value.slice(end)}\u200b`);
}

function chips(found) {
  const counts = new Map();
  for (const [, character] of found) counts.set(character, (counts.get(character) ?? 0) + 1);
  return [...counts].slice(0, 8).map(([character, count]) => {
    const chip = document.createElement("button");
    const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    chip.type = "button";
    chip.value = character;
    chip.textContent = `${/^[\p{C}\p{Z}]/u.test(character) ? `U+${code}` : character}${count > 1 ? ` ×${count}` : ""}`;
    chip.title = `U+${code} needs UCS-2. Click to find it.`;
    return chip;
  });
}

function next(text, chip) {
  if (!chip) return;
  const after = text.value.indexOf(chip.value, text.selectionEnd);
  const at = after < 0 ? text.value.indexOf(chip.value) : after;
  text.focus();
  text.setSelectionRange(at, at + chip.value.length);
}
