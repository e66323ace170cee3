// Small things that several views show in the same way.

import { fill, h } from "./dom.js";
import { clock, exact, moment, relative, visible } from "./format.js";
import { fieldsOf, titleOf, toneOf, wordsOf } from "./facts.js";
import { icon } from "./icons.js";

/** The time of the reader's clock, in epoch seconds. */
export function now() {
  return Date.now() / 1000;
}

/** A stranger's text, on one line. */
export function told(words, given = {}) {
  const clean = visible(words);
  // What is cut off at the end of a cell can be read all the same.
  return h("bdi", { class: "told", title: clean.length > 20 ? clean : null, ...given }, clean);
}

/** When something was, or will be: near the present as a distance, and exactly in the title. */
export function ago(time) {
  if (time === null || time === undefined) return h("span", { class: "muted" }, "–");
  return h("time", { datetime: new Date(time * 1000).toISOString(), title: exact(time), "data-ago": time }, relative(time, now()));
}

/** All distances on the page, as they are by now. */
export function refreshTimes() {
  for (const one of document.querySelectorAll("time[data-ago]")) {
    const words = relative(Number(one.dataset.ago), now());
    if (one.textContent !== words) one.textContent = words;
  }
}

/** The same as a clock shows it. */
export function when(time, withThousandths = false) {
  const isToday = new Date(time * 1000).toDateString() === new Date().toDateString();
  const words = isToday ? clock(time, withThousandths) : moment(time, now());
  return h("time", { datetime: new Date(time * 1000).toISOString(), title: exact(time) }, words);
}

export function chip(words, tone = "") {
  return h("span", { class: `chip ${tone}` }, words);
}

/** A heading for a view, with what stands beside it. */
export function viewHead(title, ...more) {
  return h("div", { class: "view-head" }, h("h1", {}, title), more);
}

/** A definition list of [name, what]; what is empty is left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, what]) => what !== "" && what !== null && what !== undefined && what !== false)
    .map(([name, what]) => [h("dt", {}, name), h("dd", {}, typeof what === "object" ? what : visible(what))]));
}

/** A button for one of several: [[value, words]]; `pick(value)`. */
export function segments(label, options, current, pick) {
  const made = h("div", { class: "segments", role: "group", "aria-label": label }, options.map(([value, words]) => h(
    "button",
    {
      type: "button", class: "button small", "aria-pressed": String(value === current), "data-value": value,
      on: { click: () => { for (const one of made.children) one.setAttribute("aria-pressed", String(one.dataset.value === value)); pick(value); } },
    },
    words,
  )));
  return made;
}

/** A field for what is looked for; `ask(words)` on Enter, and when it is emptied. */
export function searchField(label, hint, value, ask) {
  const input = h("input", {
    type: "search", class: "input", "aria-label": label, placeholder: hint, value, autocomplete: "off", spellcheck: "false",
    autocapitalize: "off", name: "search",
    on: { search: () => input.value === "" && value !== "" && ask("") },
  });
  return { input, element: h("div", { class: "search" }, icon("search"), input) };
}

/** A list of facts of the journal along a line of time. */
export function timeLine(list, { more = () => null } = {}) {
  return h("ol", { class: "time-line" }, list.map((fact) => h(
    "li", { class: toneOf(fact) },
    h("span", { class: "when" }, when(timeOf(fact), true)),
    h("div", { class: "what" }, h("b", {}, titleOf(fact)), " ", told(wordsOf(fact)), more(fact), allFields(fact)),
  )));
}

/** When a fact was: the API has epoch seconds, the journal its own form. */
export function timeOf(fact) {
  return typeof fact.time === "number" ? fact.time : Date.parse(fact.time) / 1000;
}

/** The lines of an SMTP conversation: "C: words", or {side, text, at}, seconds from its beginning. */
export function talk(lines) {
  return h("ol", { class: "talk", "aria-label": "The conversation" }, lines.map((line) => {
    const { side, words, at = null } = lineOf(line);
    return h("li", { class: { C: "ours", S: "theirs" }[side] ?? "note" }, h("span", { class: "side" }, side), h("bdi", {}, visible(words)),
      at !== null && h("span", { class: "side at", title: "Since its beginning" }, `${at.toFixed(2)} s`));
  }));
}

function lineOf(line) {
  if (typeof line === "object") return { side: line.side, words: line.text, at: line.at };
  const found = /^([CS]): ?(.*)$/s.exec(String(line));
  return found ? { side: found[1], words: found[2] } : { side: "", words: String(line) };
}

function allFields(fact) {
  const made = h("details", { class: "fields" }, h("summary", {}, "all fields"));
  // Made when it is opened: there may be hundreds of them.
  made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) made.append(facts(fieldsOf(fact))); });
  return made;
}

/** A press copies the words. */
export function copyable(words) {
  const button = h("button", { type: "button", class: "button quiet small copy", title: "Copy", "aria-label": `Copy ${words}` }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(words);
      fill(button, "copied");
    } catch {
      fill(button, "not allowed");
    }
    setTimeout(() => fill(button, "copy"), 1500);
  });
  return button;
}
