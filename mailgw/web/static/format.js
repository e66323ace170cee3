// How numbers, times and strangers' texts are shown.  Pure: the time is handed in, in seconds since 1970.

const COUNT = new Intl.NumberFormat("en");
const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
// What would steer the reader's eye or the text around it: control characters, and those that turn its direction.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const LINE_UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** 1234567 as 1,234,567. */
export function count(number) {
  return Number.isFinite(number) ? COUNT.format(Math.round(number)) : "–";
}

/** "1 message", "1,200 messages". */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Of a time: 0, 0.2, 3.4, 120, 12.3k. */
export function rate(number) {
  if (!Number.isFinite(number)) return "–";
  if (number === 0) return "0";
  if (number < 0.01) return "<0.01";
  if (number < 1) return trimmed(number.toFixed(2));
  if (number < 100) return trimmed(number.toFixed(1));
  return short(number);
}

/** 950, 1.2k, 34k, 1.2M. */
export function short(number) {
  if (!Number.isFinite(number)) return "–";
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    // What would round to a thousand of the smaller unit is one of this.
    if (Math.abs(number) >= size * 0.9995) {
      const of = number / size;
      return trimmed(of.toFixed(Math.abs(of) < 10 ? 1 : 0)) + unit;
    }
  }
  return trimmed(number.toFixed(Math.abs(number) < 10 && !Number.isInteger(number) ? 1 : 0));
}

/** 512 B, 1.2 KiB, 3.4 MiB, 120 GiB. */
export function octets(number) {
  if (!Number.isFinite(number)) return "–";
  let of = number;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (Math.abs(of) < 1023.5 || unit === "TiB") {
      return `${unit === "B" || Math.abs(of) >= 99.95 ? Math.round(of) : trimmed(of.toFixed(1))} ${unit}`;
    }
    of /= 1024;
  }
  return "";
}

/** A length of time in its two largest units: 0.42 s, 12 s, 3m 20s, 2h 5m, 4d 3h. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds < 0.001) return "0 s";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${trimmed(seconds.toFixed(1))} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  // Rounded to the smaller of two units first, so that no "1h 60m" stands there, nor "24h".
  const fine = Math.round(seconds);
  const [, grain] = UNITS[UNITS.findIndex(([, size]) => fine >= size) + 1];
  const rest = Math.round(fine / grain) * grain;
  const at = UNITS.findIndex(([, size]) => rest >= size);
  const [[big, bigSize], [small, smallSize]] = [UNITS[at], UNITS[at + 1]];
  const whole = Math.floor(rest / bigSize);
  const part = Math.round((rest - whole * bigSize) / smallSize);
  return part ? `${whole}${big} ${part}${small}` : `${whole}${big}`;
}

/** "3m ago", "in 2h 5m", "now": seconds below a minute, minutes below an hour. */
export function relative(time, now) {
  if (!Number.isFinite(time)) return "–";
  const seconds = time - now;
  if (Math.abs(seconds) < 1.5) return "now";
  const words = coarse(Math.abs(seconds));
  return seconds < 0 ? `${words} ago` : `in ${words}`;
}

/** The browser's clock and calendar: 14:03:22 today, 27 Nov 14:03 this year, 27 Nov 2025 14:03 before. */
export function moment(time, now) {
  if (!Number.isFinite(time)) return "–";
  const [then, today] = [new Date(time * 1000), new Date(now * 1000)];
  if (then.toDateString() === today.toDateString()) return clock(time);
  const day = `${then.getDate()} ${MONTHS[then.getMonth()]}`;
  const year = then.getFullYear() === today.getFullYear() ? "" : ` ${then.getFullYear()}`;
  return `${day}${year} ${two(then.getHours())}:${two(then.getMinutes())}`;
}

/** 14:03:22, with thousandths where they are asked for. */
export function clock(time, withThousandths = false) {
  const then = new Date(time * 1000);
  const words = [then.getHours(), then.getMinutes(), then.getSeconds()].map(two).join(":");
  return withThousandths ? `${words}.${String(then.getMilliseconds()).padStart(3, "0")}` : words;
}

/** For a title or a table: 2026-11-28 14:03:22 +01:00. */
export function exact(time) {
  if (!Number.isFinite(time)) return "–";
  const then = new Date(time * 1000);
  const day = `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`;
  const offset = -then.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day} ${clock(time)} ${zone}`;
}

/** A stranger's text on one line: what cannot be seen, or would turn the direction of what follows, has a sign. */
export function visible(text) {
  return String(text ?? "").replace(LINE_UNSEEN, sign);
}

/** The same of several lines. */
export function visibleLines(text) {
  return String(text ?? "").replaceAll("\r\n", "\n").replace(UNSEEN, sign);
}

/** A reverse-path for the eye; the null one has words. */
export function path(address) {
  return address ? visible(address) : "<> (null path)";
}

/** As much as fits, and "…" for the rest. */
export function cut(text, most) {
  const points = [...String(text)];
  return points.length <= most ? String(text) : `${points.slice(0, most - 1).join("")}…`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function coarse(seconds) {
  if (seconds < 59.5) return `${Math.round(seconds)}s`;
  return seconds < 3570 ? `${Math.round(seconds / 60)}m` : duration(seconds);
}

function two(number) {
  return String(number).padStart(2, "0");
}

function trimmed(words) {
  return words.includes(".") ? words.replace(/\.?0+$/, "") : words;
}

function sign(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "␡" : "�";
}
