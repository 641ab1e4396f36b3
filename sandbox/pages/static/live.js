// Keeps the page as if it were loaded now: on news it is fetched again, once for all that came meanwhile, and patched.
import { holdPlace } from "./place.js";
import { patch } from "./patch.js";
import { serve } from "./stream.js";

const body = document.body;
let port;
let seq = Number(body.dataset.seq); // of the latest news
let state;
let doubted = false; // the stream was cut since the last fetch: this may be another sandbox by now
let running = false;
let again = false;

export function follow() {
  const { events, kinds } = body.dataset;
  if (!events) return;
  const name = `${events} ${kinds}`;
  if (window.SharedWorker) ({ port } = new SharedWorker(new URL("stream.js", import.meta.url), { name, type: "module" }));
  else {
    const { port1, port2 } = new MessageChannel();
    port = port1;
    serve(port2, name);
  }
  port.onmessage = ({ data }) => hear(data);
  port.postMessage(seq);
  addEventListener("pagehide", () => port.postMessage(null));
  addEventListener("pageshow", (event) => event.persisted && (port.postMessage(seq), refresh()));
  setInterval(() => document.hidden || (document.getElementById("still") && refresh()), 60_000);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

function hear(news) {
  const returns = state && state !== "live";
  state = news.state;
  show(state, { live: "Live", lost: "Reconnecting…", stopped: `Not live, next try in ${news.wait} s` }[state]);
  doubted ||= state !== "live";
  if (returns || state === "stopped" || news.seq > seq) refresh();
  seq = Math.max(seq, news.seq);
  if (news.kind) document.dispatchEvent(new CustomEvent("news", { detail: news }));
}

function show(state, words) {
  const link = document.getElementById("link");
  link.hidden = false;
  link.dataset.state = state;
  link.textContent = words;
}

/** Says above the page what went wrong. */
export function say(words = "") {
  const notice = document.getElementById("notice");
  notice.textContent = words;
  notice.hidden = !words;
}

async function refresh() {
  again = running;
  if (running) return;
  running = true;
  const began = performance.now();
  try {
    const answer = await fetch(body.dataset.here, {
      headers: { "X-Refresh": document.hidden ? "background" : "visible" },
    });
    const fresh = parse(await answer.text());
    if (answer.redirected) show("stopped", "Logged out: reload to log in"); // what was typed is still here
    else if (answer.ok) apply(fresh);
    else say(fresh.getElementById("problem")?.textContent);
  } catch {
    // the stream tells when the sandbox is back
  }
  // A page that takes long to make is asked for less often, and one that nobody sees.
  const rest = document.hidden ? 1000 : Math.max(20, performance.now() - began);
  setTimeout(() => {
    running = false;
    if (again) refresh();
  }, rest);
}

export function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

/** Makes the live parts of this page those of `fresh`. */
export function apply(fresh) {
  const goBack = holdPlace(fresh);
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (next) patch(part, next);
  }
  goBack();
  document.title = fresh.title;
  const now = Number(fresh.body.dataset.seq);
  if (doubted && now < seq) port.postMessage(now); // the sandbox began anew, and counts from the start
  if (doubted || now > seq) seq = now;
  doubted = false;
}
