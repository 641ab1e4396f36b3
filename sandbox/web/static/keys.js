// One key, one place to go: / search, j and k along a list, r reply, ? help.

export function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    const act = { "/": () => focus("q"), j: () => step(1), k: () => step(-1), r: () => focus("text"), "?": help }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
}

function focus(id) {
  document.getElementById(id)?.focus();
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const here = rows.indexOf(document.activeElement);
  const from = here < 0 ? rows.findIndex((row) => row.ariaCurrent) : here;
  rows[Math.min(rows.length - 1, Math.max(0, from < 0 ? 0 : from + by))]?.focus();
}

function help() {
  document.getElementById("help").showModal();
}
