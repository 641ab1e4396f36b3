// What a reader looks at in a conversation stays put, and so does the focus, whatever is patched.

const get = (id) => document.getElementById(id);
const topOf = (it) => it.getBoundingClientRect().top;
let kept, keptAt;

/** Remembers the place; calling what it returns goes back there. */
export function holdPlace(fresh) {
  const back = [holdLog(get("log"), fresh.querySelector("#log ol")), holdFocus()];
  return () => back.forEach((each) => each());
}

function holdLog(log, next) {
  if (!next || log.scrollTop > -8) return () => log && (log.scrollTop = 0); // scrolled from its end: 0 is the newest
  const rows = [...log.querySelectorAll("ol > *")];
  const at = rows.find((row) => row.getBoundingClientRect().bottom > topOf(log));
  let top = topOf(at);
  if (at === kept && Math.abs(top - keptAt) < 2) top = keptAt; // no roundings add up
  [kept, keptAt] = [at, top];
  // What is too old for the page now stays while somebody reads up there.
  const ids = new Set([...next.children].map((row) => row.id));
  const first = rows.findIndex((row) => row.id !== "older" && ids.has(row.id));
  const old = rows.filter((row, place) => place < first && row.id !== "older");
  next.prepend(...next.querySelectorAll("#older"), ...old.map((row) => row.cloneNode(true)));
  const isNew = next.lastElementChild.id !== rows.at(-1).id;
  return () => {
    if (at.isConnected) log.scrollTop += topOf(at) - top;
    if (isNew) get("pill")?.removeAttribute("hidden");
  };
}

function holdFocus() {
  const held = document.activeElement;
  const around = [];
  for (let at = held.parentElement; at; at = at.parentElement) if (at.id || at.dataset.live) around.push(at);
  return () => {
    if (document.activeElement === held) return;
    const next = held.isConnected ? held : around.find((each) => each.isConnected);
    if (!next) return;
    if (next !== held) next.tabIndex = -1; // what it stood in takes its place
    next.focus({ preventScroll: true });
  };
}

export function offerNewest() {
  const [log, pill] = [get("log"), get("pill")];
  if (!pill) return;
  log.addEventListener("scroll", () => log.scrollTop > -8 && (pill.hidden = true));
  pill.addEventListener("click", () => {
    log.scrollTop = 0;
    log.focus();
  });
}
