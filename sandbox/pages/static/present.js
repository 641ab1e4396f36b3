// The presenter's keys, the full screen, and moving to another handset without leaving it.
import { apply, parse, say } from "./live.js";

const { body } = document;
const get = (id) => document.getElementById(id);
const full = get("full");

full.hidden = !document.fullscreenEnabled;
full.onclick = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("textarea, dialog") || !get("keys").checked) return;
  const id = { " ": "pace", ArrowRight: "next" }[key];
  if (!id || (key === " " && target.closest("a, button"))) return; // presses what has the focus
  event.preventDefault();
  if (!event.repeat) get(id).click();
});

let isMeant; // to leave: by what the page offers for it
addEventListener("click", ({ detail, target }) => {
  isMeant = target.closest("#exit, #go-leave");
  if (detail) target.closest("button")?.blur(); // or the next Space would press again what the mouse pressed
});

// A tab that is closed would leave all paused: the browser asks.
addEventListener("beforeunload", (event) => get("go-leave") && !isMeant && event.preventDefault());

// A new document would end the full screen: its parts move in here.
addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.hasAttribute("data-moves")) return;
  event.preventDefault();
  const sent = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const answer = await fetch(form.action, { method: "POST", body: sent });
    const page = parse(await answer.text());
    const { here } = page.body.dataset;
    if (!here) return location.reload();
    if (here !== body.dataset.here) history.pushState(null, "", here);
    body.dataset.here = here;
    apply(page);
  } catch {
    say("No answer came.");
  }
  delete form.dataset.busy;
});
addEventListener("popstate", () => {
  isMeant = true;
  location.reload();
});
