// For those who ask: the browser tells what the application sends while this page is not looked at.
import { say } from "./live.js";

const shown = new Set();
const isOn = () => localStorage.notify === "on" && Notification.permission === "granted";
const ask = async (path) => (await fetch(document.body.dataset.events.replace("events?", `${path}?`))).json();

export function offerNotifications() {
  if (!window.Notification) return;
  document.addEventListener("news", ({ detail }) => document.hidden && isOn() && tell(detail));
  document.addEventListener("visibilitychange", () => document.hidden || shown.forEach((each) => each.close()));
  const button = document.getElementById("notify");
  if (!button) return;
  button.hidden = false;
  button.ariaPressed = isOn();
  button.addEventListener("click", async () => {
    localStorage.notify = isOn() ? "off" : "on";
    const allowed = isOn() || (await Notification.requestPermission()) === "granted";
    if (!allowed) say("This browser does not allow notifications here.");
    button.ariaPressed = isOn();
  });
}

async function tell({ kind, data }) {
  if (!/^message_(submitted|arrived)$/.test(kind)) return;
  const { message_id, msisdn } = JSON.parse(data);
  const [message, handset] = await Promise.all([ask(`messages/${message_id}`), ask(`handsets/${msisdn}`)]);
  if (message.state !== "arrived") return; // its handset is off
  const note = new Notification(handset.label || msisdn, { body: message.text, tag: msisdn });
  note.onclick = () => focus();
  shown.add(note);
}
