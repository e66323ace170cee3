// What happens, as it happens: the newest on top, with filters and a pause.

import { fill, h } from "./dom.js";
import { KINDS, titleOf, toneOf, wordsOf } from "./facts.js";
import { tailQuery } from "./filters.js";
import { count, counted } from "./format.js";
import { Feed } from "./live.js";
import { chip, searchField, timeOf, told, viewHead, when } from "./parts.js";
import { asking, format } from "./route.js";
import { empty } from "./states.js";
import { traceTabs } from "./trace_tabs.js";

const KEPT = 500;
const FRAME_MS = 250; // more often nobody can read

export function tailPart(main, first) {
  let route = first;
  let feed = null;
  let isPaused = false;
  let missed = 0; // while it was paused
  let left = 0; // what the gateway left out
  let fresh = [];
  let timer = 0;
  const list = h("ol", {});
  const log = h("div", { class: "tail", role: "log", "aria-label": "Facts as they happen", "aria-live": "off", tabindex: "0" }, list);
  const state = h("span", { class: "live-state", role: "status" });
  const pauseButton = h("button", { type: "button", class: "button small", "aria-pressed": "false", title: "p", on: { click: () => pause() } }, "Pause");
  const none = h("div", {}, empty("Listening", "What happens is shown here at once."));
  const search = searchField("Only facts of an address, queue id or client", "Address, queue id or client", first.query.search ?? "", (words) => go({ search: words }));
  const kind = h("select", { class: "input", name: "event", "aria-label": "Kind of facts", on: { change: (event) => go({ event: event.target.value }) } },
    [["", "Everything"], ...KINDS].map(([value, words]) => h("option", { value, selected: value === (first.query.event ?? "") }, words)));
  fill(
    main, viewHead("Trace", traceTabs("live"), h("span", { class: "spacer" }), state, pauseButton,
      h("button", { type: "button", class: "button small", on: { click: clear } }, "Clear")),
    h("section", { class: "panel", "aria-label": "Live" },
      h("form", { class: "filters", role: "search", on: { submit: (event) => { event.preventDefault(); go({ search: search.input.value.trim() }); } } }, search.element, kind, h("button", { type: "submit", class: "button primary" }, "Filter")),
      none, log),
  );
  open();
  return {
    update(to) {
      route = to;
      search.input.value = to.query.search ?? "";
      kind.value = to.query.event ?? "";
      clear();
      feed.end();
      open();
    },
    end() {
      feed.end();
      clearTimeout(timer);
    },
    search: () => (search.input.focus(), true),
    pause: () => (pause(), true),
  };

  function go(changes) {
    location.hash = format(asking(route, changes));
  }

  function open() {
    const query = { now: false, event: route.query.event ?? "", ...tailQuery(route.query.search) };
    feed = new Feed("live", query, { facts: hear }, { state: paintState });
  }

  function hear(told) {
    const facts = told.items;
    left += told.left_out;
    if (isPaused) {
      missed += facts.length;
      paintState();
      return;
    }
    fresh.push(...facts);
    if (!timer) timer = setTimeout(paint, FRAME_MS);
  }

  function paint() {
    timer = 0;
    const rows = fresh.slice(-KEPT).reverse().map((fact) => h(
      "li", { class: toneOf(fact) },
      h("span", { class: "when" }, when(timeOf(fact))), chip(titleOf(fact), toneOf(fact)), told(wordsOf(fact), { class: "told says" }),
      fact.queue_id ? h("a", { class: "mono faint", href: format({ view: "trace", path: [fact.queue_id] }) }, told(fact.queue_id)) : h("span", {}),
    ));
    fresh = [];
    list.prepend(...rows);
    while (list.children.length > KEPT) list.lastChild.remove();
    none.hidden = list.children.length > 0;
    paintState();
  }

  function pause() {
    isPaused = !isPaused;
    if (!isPaused) missed = 0;
    pauseButton.setAttribute("aria-pressed", String(isPaused));
    fill(pauseButton, isPaused ? "Go on" : "Pause");
    paintState();
  }

  function clear() {
    fresh = [];
    left = 0;
    missed = 0;
    fill(list);
    none.hidden = false;
    paintState();
  }

  function paintState(word = feed?.word ?? "waiting") {
    if (feed) feed.word = word;
    const words = isPaused ? `paused${missed ? `, ${counted(missed, "fact")} passed by` : ""}` : word === "live" ? "live" : "connecting…";
    fill(state, h("span", { class: `dot ${isPaused ? "" : word}`, "aria-hidden": "true" }), words, left > 0 && ` (${count(left)} left out)`);
  }
}
