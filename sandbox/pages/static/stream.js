// One event stream for all pages of a browser: a shared worker. Where there are none, a page imports it for itself.

const ports = new Set();
let now; // how the stream stands: { state, seq }
let source, timer;
let refused = 0;

/** A page says after which event it wants to hear, again if the sandbox is younger than that, and null to leave. */
export function serve(port, events) {
  port.onmessage = ({ data: seq }) => {
    const known = ports.has(port);
    ports[seq === null ? "delete" : "add"](port);
    if (!ports.size) stop();
    else if (now && !known) port.postMessage(now);
    else if (seq !== null) listen(seq, events);
  };
}

function stop() {
  clearTimeout(timer);
  source?.close();
  now = null;
}

function listen(seq, events) {
  stop();
  now = { state: "lost", seq };
  const [url, ...kinds] = events.split(" ");
  source = new EventSource(`${url}&view=brief&after=${seq}`);
  source.onopen = () => {
    refused = 0;
    tell("live");
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return tell("lost");
    const wait = Math.min(30, 2 ** ++refused) * (0.5 + Math.random() / 2); // it would not try again by itself
    timer = setTimeout(() => listen(now.seq, events), wait * 1000);
    tell("stopped", { wait: Math.ceil(wait) });
  };
  for (const kind of kinds)
    source.addEventListener(kind, ({ data, lastEventId }) => {
      now.seq = Number(lastEventId);
      tell("live", { kind, data });
    });
}

function tell(state, news) {
  now.state = state;
  for (const port of ports) port.postMessage({ ...now, ...news });
}

self.onconnect = ({ ports: [port] }) => serve(port, self.name);
