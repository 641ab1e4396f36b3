// Keeps the page as it would be if it were loaded now: news come by one event stream, the page is fetched again, and
// its live parts are patched. At most one fetch is under way; news meanwhile are answered by one more.
import { patch } from "./patch.js";

const body = document.body;
let source = null;
let lost = false; // the stream was cut
let doubted = false; // it was cut since the last fetch: this may be another sandbox by now
let seq = 0; // of the latest news heard
let running = false;
let again = false;

export function follow() {
  if (!body.dataset.events) return;
  seq = Number(body.dataset.seq);
  listen();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && (listen(), refresh()));
  document.addEventListener("visibilitychange", () => document.hidden || refresh()); // seen now, so read now
}

function listen() {
  source?.close();
  source = new EventSource(`${body.dataset.events}&after=${seq}`);
  for (const kind of body.dataset.kinds.split(" ")) source.addEventListener(kind, hear);
  source.onopen = () => {
    show("live", "Live");
    if (lost) refresh();
    lost = false;
  };
  source.onerror = () => {
    lost = doubted = true;
    show("lost", "Reconnecting…");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000); // refused: it would not try again itself
  };
}

function hear(event) {
  seq = Number(event.lastEventId);
  refresh();
}

function show(state, words) {
  const link = document.getElementById("link");
  link.hidden = false;
  link.dataset.state = state;
  link.textContent = words;
}

export async function refresh() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  const began = performance.now();
  try {
    const answer = await fetch(body.dataset.here, {
      headers: { "X-Refresh": document.hidden ? "background" : "visible" },
    });
    if (answer.redirected) location.reload(); // to the login
    else if (answer.ok) apply(parse(await answer.text()));
  } catch {
    lost = true; // the stream tells when the sandbox is back
  }
  // A page that takes long to make is asked for less often.
  setTimeout(() => {
    running = false;
    if (again) {
      again = false;
      refresh();
    }
  }, Math.max(20, performance.now() - began));
}

export function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

/** Makes the live parts of this page those of `fresh`. */
export function apply(fresh) {
  const log = document.getElementById("log");
  // The log is scrolled from its end: 0 is the newest message, above it is negative.
  const top = log && log.scrollTop < -8 ? log.scrollHeight + log.scrollTop : null;
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (next) patch(part, next);
  }
  if (log) log.scrollTop = top === null ? 0 : top - log.scrollHeight;
  document.title = fresh.title;
  const now = Number(fresh.body.dataset.seq);
  if (doubted && now < seq) {
    // The sandbox began anew, and counts from the start.
    seq = now;
    listen();
  }
  doubted = false;
}
