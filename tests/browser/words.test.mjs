import assert from "node:assert/strict";
import { test } from "node:test";

import { fieldsOf as factFields, titleOf, toneOf, wordsOf } from "../../mailgw/web/static/facts.js";
import { decoded, fieldOf, fieldsOf } from "../../mailgw/web/static/header.js";
import { tomlOf } from "../../mailgw/web/static/toml.js";

test("header fields are unfolded, and what is no field is left out", () => {
  assert.deepEqual(fieldsOf("From: a\nno field\nX-Long: one\n two\r\n\tthree\n: nothing"), [["From", "a"], ["X-Long", "one two three"]]);
  assert.equal(fieldOf("subject: Hi\nSubject: second", "Subject"), "Hi");
  assert.equal(fieldOf("", "Subject"), "");
});

test("encoded words are decoded, and stay where they cannot be", () => {
  for (const [given, wanted] of [
    ["plain", "plain"], ["=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= Bonn", "Grüße aus Bonn"], ["=?UTF-8?B?8J+Zgg==?=", "🙂"],
    ["=?utf-8?q?a?= =?utf-8?q?b?= c", "ab c"], ["=?iso-8859-1?q?=E9?=", "é"], ["=?nonsense-9?q?x?=", "=?nonsense-9?q?x?="],
    ["=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="], ["=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="],
  ]) assert.equal(decoded(given), wanted);
});

test("a header of a million octets takes no time to speak of", () => {
  const began = process.cpuUsage();
  fieldOf(`Subject: ${"=?utf-8?q?".repeat(100_000)}`, "Subject");
  decoded(` ${"=?a?q?b?= ".repeat(50_000)}`);
  assert.ok(process.cpuUsage(began).user < 2_000_000, "in microseconds of this process, whoever else is at work");
});

test("facts have words, and what they say has no character that cannot be seen", () => {
  const deferred = { event: "deferred", recipient: "b@x", hop: "mx\u202e", code: 451, status: "4.7.1", text: "later", retry_seconds: 300 };
  assert.equal(titleOf(deferred), "Deferred");
  assert.equal(toneOf(deferred), "warn");
  assert.equal(wordsOf(deferred), "b@x · at mx� · 451 4.7.1 later · again in 5m");
  assert.equal(wordsOf({ event: "queued", reverse_path: "", recipients: ["a@x", "b@x", "c@x"], size_octets: 2048, peer: "192.0.2.1" }),
    "<> (null path) → a@x, b@x and 1 more · 2 KiB · 192.0.2.1");
});

test("an order has words, without the message that it is told of", () => {
  const order = { event: "ordered", order: "hold", which: "queue_id=Q1 recipient=b@x", to: "", recipients: 1, queue_id: "Q1" };
  assert.equal(wordsOf(order), "held · recipient=b@x · 1 recipient");
  assert.equal(wordsOf({ ...order, order: "reroute", which: "queue_id=Q1", to: "out" }), "rerouted · to out · 1 recipient");
});

test("what was asked for by HTTP has words: by whose token, and what", () => {
  const fact = { event: "operated", token: "owner", peer: "127.0.0.1", method: "POST", path: "/api/v1/messages", http_status: 202 };
  assert.equal(wordsOf(fact), "owner · POST /api/v1/messages · 202 · 127.0.0.1");
  assert.equal(wordsOf({ event: "token_refused", peer: "127.0.0.1", method: "GET", path: "/api/v1/now" }), "GET /api/v1/now · 127.0.0.1");
});

test("a start and a reload have words", () => {
  assert.equal(wordsOf({ event: "started", hostname: "mx.test", version: "1", endpoints: ["tcp:25", "tcp:587"] }), "mailgw 1 as mx.test · tcp:25, tcp:587");
  assert.equal(wordsOf({ event: "reloaded", changes: ["hostname: changed"], faults: ["tls: no"] }), "not done: tls: no · hostname: changed");
});

test("a fact that nobody here knows is shown all the same", () => {
  const fact = { event: "brand_new", time: 5, some_seconds: 3, deep: { a: 1 }, list: ["x", "y"], empty: "" };
  assert.equal(titleOf(fact), "brand new");
  assert.equal(toneOf(fact), "calm");
  assert.equal(wordsOf(fact), 'some seconds 3 s · deep {"a":1} · list x, y');
  assert.deepEqual(factFields(fact).map(([name]) => name), ["some seconds", "deep", "list"]);
});

test("a configuration is shown as TOML, tables behind plain values", () => {
  const document = {
    hostname: "gw.test", tls: { certificate: "/a.pem", "mail.example": { certificate: "/b.pem" } }, listen: [{ role: "mx", endpoint: "tcp:25" }, { role: "lmtp" }],
    backend: { boxes: { type: "maildir", hosts: ["a", "b"], map: [] } }, api: {}, workers: 1, is: true,
  };
  assert.equal(tomlOf(document), `hostname = "gw.test"
workers = 1
is = true

[tls]
certificate = "/a.pem"

[tls."mail.example"]
certificate = "/b.pem"

[[listen]]
role = "mx"
endpoint = "tcp:25"

[[listen]]
role = "lmtp"

[backend.boxes]
type = "maildir"
hosts = ["a", "b"]
map = []

[api]`);
});
