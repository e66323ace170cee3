import assert from "node:assert/strict";
import { test } from "node:test";

import { asking, format, parse, tokenIn } from "../../mailgw/web/static/route.js";

test("every route comes back from its address", () => {
  for (const route of [
    { view: "now", path: [], query: {} },
    { view: "queue", path: ["m", "01J/..%2f?#x"], query: { sender: "a+b@c.d", reason: "50% & more=less" } },
    { view: "trace", path: ["<a@b>"], query: {} },
    { view: "inbox", path: ["7"], query: { search: "ü 漢 #1" } },
  ]) assert.deepEqual(parse(format(route)), route);
});

test("what is no view is the first one", () => {
  for (const words of ["", "#", "#/", "#/nothing/there", "#main", "#/%E0%A4%A"]) assert.equal(parse(words).view, "now");
});

test("a broken escape is taken as it stands", () => {
  assert.deepEqual(parse("#/queue/m/%E0%A4%A").path, ["m", "%E0%A4%A"]);
});

test("empty questions are left out", () => {
  assert.equal(format({ view: "queue", query: { sender: "", state: null, lane: "x" } }), "#/queue?lane=x");
});

test("another question begins on the first page", () => {
  assert.deepEqual(asking({ view: "queue", path: [], query: { after: "p", lane: "x" } }, { state: "held" }).query, { lane: "x", state: "held" });
});

test("a token is only a token alone", () => {
  assert.equal(tokenIn("#token=ab%2Bc"), "ab+c");
  for (const words of ["", "#/now", "#/now?token=x", "#token=", "#xtoken=a", "#token=a&b=c"]) assert.equal(tokenIn(words), null);
});
