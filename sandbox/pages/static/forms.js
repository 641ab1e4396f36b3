// Sends forms marked data-quiet and stays on the page, sends a text with Enter, follows a choice of account.
import { leave } from "./keys.js";
import { apply, parse, say } from "./live.js";

export function takeOverForms() {
  document.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey);
  document.addEventListener("change", (event) => event.target.closest("form[data-pick]")?.requestSubmit());
  addEventListener("pageshow", () => [...document.forms].forEach((form) => delete form.dataset.busy));
}

function onKey(event) {
  const text = event.target;
  if (text.id !== "text" || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (text.value) text.form.requestSubmit();
}

async function onSubmit(event) {
  const form = event.target;
  if (form.method !== "post" || form.matches("[data-moves]")) return;
  const quiet = form.matches("[data-quiet]");
  if (quiet || form.dataset.busy) event.preventDefault();
  if (form.dataset.busy) return; // one press, one text
  form.dataset.busy = "yes";
  if (!quiet) return;
  const sent = new FormData(form, event.submitter);
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(sent) });
    const written = await answer.text();
    if (/html/.test(answer.headers.get("Content-Type"))) settle(form, sent, answer, parse(written));
    else say(JSON.parse(written).detail);
  } catch {
    say("No answer came. What you typed is still here; look whether it has arrived before you send it again.");
  }
  delete form.dataset.busy;
}

function settle(form, sent, answer, page) {
  const problem = page.getElementById("problem");
  if (problem) return say(problem.textContent);
  say();
  const isHere = !answer.redirected || answer.url === location.href.split("#")[0];
  if (!isHere || !page.querySelector("[data-live]")) return location.assign(answer.url);
  apply(page);
  if (answer.ok) leave(form);
  const text = form.elements[form.dataset.clears];
  if (!answer.ok || !text || sent.has("quick")) return;
  const was = sent.get(text.name).replaceAll("\r", "");
  if (text.value.startsWith(was)) text.value = text.value.slice(was.length); // what was typed since stays
  text.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById("log").scrollTop = 0;
}
