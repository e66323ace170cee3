import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "../../mailgw/web/static/format.js";

const each = (make, pairs) => pairs.forEach(([given, wanted]) => assert.equal(make(given), wanted, `of ${String(given)}`));

test("rates have as many digits as say something", () => each(format.rate, [
  [0, "0"], [0.004, "<0.01"], [0.05, "0.05"], [0.999, "1"], [3.44, "3.4"], [99.96, "100"], [1234, "1.2k"], [NaN, "–"], [undefined, "–"],
]));

test("large numbers are short", () => each(format.short, [
  [0, "0"], [999, "999"], [999.7, "1k"], [1000, "1k"], [1234, "1.2k"], [34_400, "34k"], [999_900, "1M"], [2.5e9, "2.5G"], [2.25, "2.3"], [-1500, "-1.5k"],
]));

test("octets", () => each(format.octets, [[0, "0 B"], [1023, "1023 B"], [1024, "1 KiB"], [1023.7 * 1024, "1 MiB"], [1.5 * 2 ** 30, "1.5 GiB"], [null, "–"]]));

test("a length of time has two units, and no unit of sixty", () => each(format.duration, [
  [0, "0 s"], [0.0421, "42 ms"], [0.9996, "1 s"], [9.94, "9.9 s"], [9.96, "10 s"], [59.4, "59 s"], [59.6, "1m"], [200, "3m 20s"],
  [3599.7, "1h"], [7500, "2h 5m"], [86399, "1d"], [90000, "1d 1h"], [-5, "−5 s"], [undefined, "–"],
]));

test("times from now are coarse", () => {
  assert.equal(format.relative(1000, 1000.4), "now");
  assert.equal(format.relative(1000, 1030), "30s ago");
  assert.equal(format.relative(1000, 4600), "1h ago");
  assert.equal(format.relative(1300, 1000), "in 5m");
  assert.equal(format.relative(null, 5), "–");
});

test("what cannot be seen in a stranger's text has a sign", () => each(format.visible, [
  ["plain ünïcode 漢字", "plain ünïcode 漢字"], ["a\u0000b\u001bc", "a␀b␛c"], ["two\r\nlines", "two␍␊lines"], ["\u202egnp.exe", "�gnp.exe"],
  ["\u200b\u2066\ufeff", "���"], ["\u007f\u0085", "␡�"], [null, ""], [undefined, ""], [7, "7"], ["🙂", "🙂"],
]));

test("several lines keep their ends and their tabs", () => {
  assert.equal(format.visibleLines("a\r\nb\tc\nd\re\u202e"), "a\nb\tc\nd␍e�");
});

test("the null path has words", () => {
  assert.equal(format.path(""), "<> (null path)");
  assert.equal(format.path("a@b.c"), "a@b.c");
});

test("counts", () => {
  assert.equal(format.counted(1, "message"), "1 message");
  assert.equal(format.counted(1234, "message"), "1,234 messages");
  assert.equal(format.counted(2, "address", "addresses"), "2 addresses");
});

test("what is cut is not cut within a character", () => {
  assert.equal(format.cut("🙂🙂🙂", 2), "🙂…");
  assert.equal(format.cut("abc", 3), "abc");
});

test("moments are as near as they need to be", () => {
  const now = new Date(2026, 10, 28, 14, 0, 0).getTime() / 1000;
  assert.equal(format.moment(now - 5, now), "13:59:55");
  assert.equal(format.moment(now - 86400, now), "27 Nov 14:00");
  assert.equal(format.moment(now - 400 * 86400, now), "24 Oct 2025 14:00");
  assert.match(format.exact(now), /^2026-11-28 14:00:00 [+-]\d\d:\d\d$/);
});
