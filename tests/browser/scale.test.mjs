import assert from "node:assert/strict";
import { test } from "node:test";

import { alone, areaPath, linePath, linear, nearest, thinned, ticks, timeTicks } from "../../mailgw/web/static/scale.js";

test("linear", () => {
  assert.equal(linear([0, 10], [100, 0])(2.5), 75);
  assert.equal(linear([5, 5], [0, 100])(5), 50);
});

test("levels are round, begin with nothing and end above all", () => {
  assert.deepEqual(ticks(42, 4), [0, 20, 40, 60].slice(0, ticks(42, 4).length));
  for (const highest of [0.003, 0.7, 1, 3, 7, 42, 99, 100, 101, 12345, 1e9]) {
    const made = ticks(highest, 3);
    assert.equal(made[0], 0);
    assert.ok(made.at(-1) >= highest * 0.99999 && made.length >= 2 && made.length <= 6, `${highest}: ${made}`);
  }
  for (const nothing of [0, -1, NaN, Infinity]) assert.deepEqual(ticks(nothing), [0, 1]);
});

test("times stand at whole minutes or hours", () => {
  const made = timeTicks(1_000_000, 1_003_600, 6);
  assert.ok(made.length > 2 && made.length <= 7);
  for (const time of made) assert.equal(time % 600, 0);
  assert.ok(timeTicks(0, 7 * 86400, 7).length <= 8);
});

test("a line has gaps where nothing is known, and a point alone is seen", () => {
  assert.equal(linePath([[0, 0], [1, 1.26], null, [3, 3]]), "M0 0L1 1.3M3 3h0.01");
  assert.equal(linePath([]), "");
  assert.equal(linePath([null, null]), "");
});

test("an area is closed along the floor, each run by itself", () => {
  assert.equal(areaPath([[0, 1], [1, 2], null, [3, 3]], 9), "M0 9L0 1L1 2L1 9ZM3 9L3 3L3 9Z");
});

test("nearest", () => {
  assert.equal(nearest([1, 5, 9], 6), 1);
  assert.equal(nearest([1], -100), 0);
  assert.equal(nearest([], 3), -1);
});

test("thinned values are means of what is known", () => {
  assert.deepEqual(thinned([1, 3, null, 5, null, null], 3), [2, 5, null]);
  assert.deepEqual(thinned([1, 2], 5), [1, 2]);
});

test("points without a neighbour", () => {
  const [a, b, c, d] = [[0, 1], [1, 1], [3, 1], [5, 1]];
  assert.deepEqual(alone([a, b, null, c, null, d]), [c, d]);
  assert.deepEqual(alone([a]), [a]);
  assert.deepEqual(alone([null, a, b]), []);
  assert.deepEqual(alone([]), []);
});
