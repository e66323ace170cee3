import assert from "node:assert/strict";
import { test } from "node:test";

import { chipsOf, inboxQuery, isQueueId, queueQuery, secondsOf, tailQuery } from "../../mailgw/web/static/filters.js";

test("lengths of time", () => {
  for (const [words, wanted] of [["90", 90], ["2h", 7200], [" 1.5 d ", 129600], ["1W", 604800], ["", null], ["h", null], ["2x", null], ["-1h", null], [undefined, null]]) {
    assert.equal(secondsOf(words), wanted, String(words));
  }
});

test("what is typed becomes what the queue is asked", () => {
  assert.deepEqual(queueQuery({ sender: " a@b.c ", older: "1h", younger: "2h", state: "held", after: "x" }, 10_000), {
    query: { sender: "a@b.c", arrived_before: 6400, arrived_after: 2800, state: "held" }, faults: [],
  });
  assert.deepEqual(queueQuery({ search: "bob@example.org" }, 0).query, { address: "bob@example.org" });
  assert.deepEqual(queueQuery({ search: "0018f3a2b4c5d0010a" }, 0).query, { queue_id: "0018f3a2b4c5d0010a" });
  assert.deepEqual(queueQuery({ sender: "<>" }, 0).query, { sender: "" });
  assert.deepEqual(queueQuery({ older: "soon" }, 0), { query: {}, faults: ["older"] });
});

test("queue ids are no addresses", () => {
  for (const words of ["0018f3a2b4c5d0010a", "0018f3a2b4c5d00v0worker"]) assert.ok(isQueueId(words), words);
  for (const words of ["0018f3a2b4c5d001", "0018F3A2B4C5D0010A", "bob", "example.org", "mx1.example.org", "a@b1.c", "hello", "abc123 def"]) assert.ok(!isQueueId(words), words);
});

test("what is wanted of all facts", () => {
  for (const [words, wanted] of [
    ["", {}], ["  ", {}], ["bob@example.org", { address: "bob@example.org" }],
    ["192.0.2.1", { peer: "192.0.2.1" }], ["192.0.2.0/24", { peer: "192.0.2.0/24" }], ["2001:db8::/32", { peer: "2001:db8::/32" }],
    ["0018f3a2b4c5d0010a", { queue_id: "0018f3a2b4c5d0010a" }], ["example.org", { address: "@example.org" }],
  ]) assert.deepEqual(tailQuery(words), wanted, words);
});

test("chips name what is asked", () => {
  assert.deepEqual(chipsOf({ sender: "a@b", state: "held", search: "x" }), [["sender", "Sender", "a@b"]]);
});

test("words with a field's name look there, the others anywhere", () => {
  for (const [words, wanted] of [
    ["", {}], [undefined, {}], ["hello  you", { search: "hello you" }], ["to:bob@x.y", { to: "bob@x.y" }],
    ['from:ann Subject:"two words" rest', { from: "ann", subject: "two words", search: "rest" }], ["http://x", { search: "http://x" }],
    ['to:"" from:" "', {}], [' \t', {}], ['subject:"" x', { search: "x" }],
  ]) assert.deepEqual(inboxQuery(words), wanted, words);
});
