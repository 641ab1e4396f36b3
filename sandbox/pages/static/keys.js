// One key, one place to go. A key counts by itself, outside of fields, and as long as nobody switches keys off.

const keys = document.getElementById("keys");
let before = ""; // "g " for a moment after g

export function listenForKeys() {
  document.addEventListener("keydown", onKey);
  keys.checked = localStorage.keys !== "off";
  keys.addEventListener("change", () => (localStorage.keys = keys.checked ? "on" : "off"));
  const ask = document.getElementById("ask");
  if (!ask) return;
  ask.hidden = false;
  ask.addEventListener("click", () => document.getElementById("help").showModal());
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || target.closest("dialog")) return;
  if (key === "Escape") return leave(target);
  if (target.closest("input, textarea, select") || !keys.checked) return;
  const named = document.querySelector(`[data-key="${CSS.escape(before + key)}"]`);
  const by = { j: 1, k: -1 }[key];
  before = key === "g" ? "g " : "";
  setTimeout(() => (before = ""), 1500);
  if (by) step(by);
  else if (named?.form) named.focus();
  else if (named) named.click();
  else return;
  event.preventDefault();
}

export function leave(target) {
  const sheet = target.closest("details[open]:is(.edit, .confirm)");
  if (!sheet) return target.blur();
  sheet.open = false;
  sheet.firstElementChild.focus();
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  let at = rows.indexOf(document.activeElement);
  if (at < 0) at = rows.findIndex((row) => row.ariaCurrent);
  rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}
