// A test of an application by the ninebits-sandbox, with nothing but what Node 20 brings along.
//
//     ninebits-sandbox serve --clock virtual &
//     node --test docs/examples/cinema.test.mjs

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";

const sandbox = process.env.NINEBITS_SANDBOX_URL ?? "http://127.0.0.1:2081";

// The application: it asks a question by SMS, and says thank you for the answer. Yours takes its place. -------------

async function sendSms(token, to, message, sessionId) {
  const response = await fetch(`${sandbox}/ng/v1/sendsms`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      from: "48974",
      to,
      message,
      session_id: sessionId,
      sent_date: new Date().toISOString(),
    }),
  });
  if (!response.ok) throw new Error(await response.text());
}

function application(token) {
  return createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const reply = JSON.parse(body);
    response.writeHead(200, { "Content-Type": "application/json", Connection: "close" }).end("{}");
    await sendSms(token, reply.from, "Thank you!", reply.session_id);
  });
}

// The test ----------------------------------------------------------------------------------------------------------

/** A call of the control API, for the account of this test. Throws what the sandbox complains about. */
async function call(method, path, body, query = {}) {
  const response = await fetch(`${sandbox}/_sandbox/v1${path}?${new URLSearchParams({ account, ...query })}`, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text ? JSON.parse(text) : null;
}

/** The next message to a handset that is like this; throws what came closest if none comes in five seconds. */
async function nextMessage(to, like, after = 0) {
  const waited = await call("GET", "/messages/wait", undefined, { to, after, direction: "mt", ...like });
  assert.ok(waited.satisfied, JSON.stringify(waited.near_misses, null, 2));
  return waited.messages[0];
}

let account, token, server;
const phone = "2348020000000";

beforeEach(async () => {
  account = "default"; // to make another one
  const name = `test-${randomBytes(4).toString("hex")}`;
  token = `token-of-${name}`;
  server = application(token);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const clientUrl = `http://127.0.0.1:${server.address().port}/sms`;
  await call("POST", "/accounts", { name, token, client_url: clientUrl });
  account = name; // of its own: tests may run in parallel, and see nothing of each other
});

afterEach(async () => {
  await call("DELETE", `/accounts/${account}`);
  server.close();
});

test("the application says thank you, in the session of the question", async () => {
  await sendSms(token, phone, "When was the last time you went to the cinema?", "67543uhn3");
  const question = await nextMessage(phone, { text: "*cinema?*" });

  const { webhook_delivery: webhook } = await call("POST", `/handsets/${phone}/reply`, { text: "yesterday" });
  assert.equal(webhook.attempts[0].status_code, 200);

  const thanks = await nextMessage(phone, { pattern: "thank you", ignore_case: true }, question.seq);
  assert.equal(thanks.session_id, question.session_id);

  const verified = await call("POST", "/verify", {
    match: { to: phone, text: "Thank you*" },
    times: { exactly: 1 },
    within: 0.2,
  });
  assert.ok(verified.satisfied);
});

test("a call that the gateway refuses says why", async () => {
  await assert.rejects(sendSms(token, "0802", "Hello", "67543uhn3"), /international/);
  const { requests } = await call("GET", "/requests", undefined, { verdict: "refused" });
  assert.equal(requests[0].problems[0].field, "to");
});
