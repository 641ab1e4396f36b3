// Sends forms marked data-quiet without leaving the page, sends a text with Enter, and follows a choice of account.
import { apply, parse } from "./live.js";

export function takeOverForms() {
  document.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey);
  document.addEventListener("change", (event) => event.target.closest("form[data-pick]")?.requestSubmit());
}

function onKey(event) {
  const text = event.target.closest?.("#text");
  if (!text || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (text.value) text.form.requestSubmit();
}

async function onSubmit(event) {
  const form = event.target;
  if (!form.hasAttribute("data-quiet")) return;
  event.preventDefault();
  if (form.dataset.busy) return; // one press, one text
  form.dataset.busy = "yes";
  const sent = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const answer = await fetch(form.action, { method: "POST", body: sent });
    settle(form, answer, parse(await answer.text()));
  } catch {
    say("The sandbox does not answer. What you typed is still here.");
  }
  delete form.dataset.busy;
}

function settle(form, answer, page) {
  const problem = page.getElementById("problem");
  if (problem) return say(problem.textContent);
  say("");
  if (!page.querySelector("[data-live]") || (answer.redirected && !isHere(answer.url))) {
    location.assign(answer.url);
    return;
  }
  apply(page);
  if (!answer.ok) return;
  const text = form.elements[form.dataset.clears];
  if (text) {
    text.value = "";
    text.dispatchEvent(new Event("input", { bubbles: true }));
    document.getElementById("log").scrollTop = 0;
  }
}

function isHere(url) {
  const { pathname, search } = new URL(url);
  return pathname + search === location.pathname + location.search;
}

function say(words) {
  const notice = document.getElementById("notice");
  notice.textContent = words;
  notice.hidden = !words;
}
