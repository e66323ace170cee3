// The list of the queue: who waits for what, and orders over some of them, or all that match.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { QUEUE_FIELDS, chipsOf, queueQuery } from "./filters.js";
import { count, counted, octets, path, visible } from "./format.js";
import { icon } from "./icons.js";
import { ago, chip, now, searchField, told, viewHead } from "./parts.js";
import { queueTabs } from "./queue_tabs.js";
import { asking, format } from "./route.js";
import { rowsOf } from "./rows.js";
import { Region, empty } from "./states.js";
import { Meant, verbButtons } from "./verbs.js";

const PAGE = 50;
const EVERY_SECONDS = 10;
const STATES = [["", "Any state"], ["waiting", "Waiting"], ["active", "In line"], ["held", "Held"], ["suspended", "Suspended"]];
const TONES = { held: "warn", suspended: "warn", active: "accent" };

export function listPart(main, first, page) {
  let route = first;
  let isOpen = false; // the further filters
  let befores = []; // the places of the pages before this one
  const selection = new Map(); // rows by their keys
  const list = h("div", {});
  const region = new Region(list);
  const filters = h("div", {});
  const chosenBar = h("div", { class: "chosen", "aria-live": "polite" });
  const foot = h("div", {});
  let box = null;
  fill(main, viewHead("Queue", queueTabs("list"), h("span", { class: "spacer" }), h("button", { type: "button", class: "button icon-only small quiet", title: "Look again", "aria-label": "Look again", on: { click: () => ask(true) } }, icon("again"))),
    h("section", { class: "panel", "aria-label": "Queued recipients" }, filters, chosenBar, list, foot));
  paintFilters();
  ask();

  return {
    update(to) {
      const isSame = JSON.stringify({ ...route.query, after: "" }) === JSON.stringify({ ...to.query, after: "" });
      if (!isSame) {
        befores = [];
        selection.clear();
      }
      route = to;
      paintFilters();
      ask();
    },
    end: () => region.end(),
    search: () => (box.focus(), box.select(), true),
    again: () => ask(true),
    escape: () => {
      if (selection.size > 0) {
        after();
        return true;
      }
      return false;
    },
  };

  function ask(quietly = false) {
    const { query, faults } = queueQuery(route.query, now());
    if (faults.length) {
      region.end();
      fill(list, empty("That is no age", "Ages are written 90s, 30m, 2h, 3d or 1w."));
      fill(foot);
      return;
    }
    paintChosen();
    region.show((signal) => get("queue/messages", { ...query, after: route.query.after, limit: PAGE, newest: true }, signal), show, { quietly, lines: 10, every: EVERY_SECONDS, isFree: () => selection.size === 0 });
  }

  function show({ items, next }) {
    paintFoot(items, next);
    if (items.length === 0) {
      const isFiltered = Object.keys(route.query).some((name) => name !== "after");
      if (next !== null && next !== undefined) return empty("Nothing found so far", "The queue is large, and the rest of it is still to be searched.");
      if (isFiltered) return empty("Nothing matches", "No recipient in the queue is like that.", h("a", { class: "button", href: format({ view: "queue" }) }, "Show all"));
      return empty("The queue is empty", "Everything that was taken has been handed on.");
    }
    return rowsOf({
      label: "Queued recipients", items, columns: COLUMNS, key: keyOf, selection: new Selected(selection, items),
      href: (row) => format({ view: "queue", path: ["m", row.queue_id] }), chosen: paintChosen,
    });
  }

  function paintFilters() {
    const search = searchField("Search by address or queue id", "Address or queue id", route.query.search ?? "", (words) => go({ search: words }));
    box = search.input;
    const state = h("select", { class: "input", name: "state", "aria-label": "State", on: { change: (event) => go({ state: event.target.value }) } },
      STATES.map(([value, words]) => h("option", { value, selected: value === (route.query.state ?? "") }, words)));
    const more = h("div", { class: "more-filters", id: "more-filters", hidden: !isOpen }, QUEUE_FIELDS.map(([name, label, hint]) => h(
      "p", { class: "field" }, h("label", { for: `filter-${name}` }, label),
      h("input", { id: `filter-${name}`, name, class: "input", value: route.query[name] ?? "", placeholder: hint, autocomplete: "off", spellcheck: "false", autocapitalize: "off" }),
    )));
    const toggle = h("button", {
      type: "button", class: "button", "aria-expanded": String(isOpen), "aria-controls": "more-filters",
      on: { click: () => { isOpen = !isOpen; more.hidden = !isOpen; toggle.setAttribute("aria-expanded", String(isOpen)); if (isOpen) more.querySelector("input").focus(); } },
    }, "Filters");
    const form = h(
      "form", { role: "search", on: { submit: (event) => { event.preventDefault(); go(Object.fromEntries(new FormData(form))); } } },
      h("div", { class: "filters" }, search.element, state, toggle, h("button", { type: "submit", class: "button primary" }, "Search")), more,
    );
    const chips = chipsOf(route.query);
    fill(filters, form, chips.length > 0 && h("div", { class: "filters chips" }, chips.map(([name, label, value]) => h(
      "span", { class: "chip accent" }, `${label}: `, told(value),
      h("button", { type: "button", class: "button quiet", "aria-label": `Without ${label}`, on: { click: () => go({ [name]: "" }) } }, "✕"),
    ))));
  }

  function go(changes) {
    location.hash = format(asking(route, changes));
  }

  function paintChosen() {
    const rows = [...selection.values()];
    const { query } = queueQuery(route.query, now());
    const isFiltered = Object.keys(query).length > 0;
    if (rows.length === 0 && !isFiltered) {
      fill(chosenBar);
      return;
    }
    const bar = rows.length > 0
      ? [h("b", {}, `${count(rows.length)} chosen`), verbButtons(() => new Meant({ rows }), after, { states: rows.map((row) => row.state), small: true }),
        h("button", { type: "button", class: "button quiet small", on: { click: after } }, "None")]
      : [h("span", { class: "muted" }, "All that match:"), verbButtons(() => allThatMatch(query), after, { small: true })];
    fill(chosenBar, h("div", { class: "filters" }, bar));
  }

  function after() {
    selection.clear();
    region.forget();
    ask(true);
  }

  function paintFoot(items, next) {
    const older = next !== null && next !== undefined;
    if (!older && befores.length === 0 && items.length === 0) {
      fill(foot);
      return;
    }
    fill(foot, h(
      "div", { class: "foot" }, h("span", {}, items.length > 0 ? `${counted(items.length, "recipient")}, newest first` : ""),
      h(
        "span", { class: "buttons" },
        befores.length > 0 && h("button", { type: "button", class: "button small", on: { click: () => turn(befores.pop()) } }, "Newer"),
        older && h("button", { type: "button", class: "button small", on: { click: () => { befores.push(route.query.after ?? ""); turn(next); } } }, items.length ? "Older" : "Search on"),
      ),
    ));
  }

  function turn(after) {
    location.hash = format({ ...route, query: { ...route.query, after } });
  }
}

/** Rows that are chosen, kept whole, behind the set of keys that the list knows. */
class Selected {
  constructor(rows, items) {
    this.rows = rows;
    this.items = new Map(items.map((row) => [keyOf(row), row]));
    // What is shown anew may stand otherwise by now.
    for (const [key, row] of this.items) if (rows.has(key)) rows.set(key, row);
  }

  has(key) {
    return this.rows.has(key);
  }

  add(key) {
    this.rows.set(key, this.items.get(key));
  }

  delete(key) {
    this.rows.delete(key);
  }
}

export function keyOf(row) {
  return `${row.queue_id} ${row.recipient}`;
}

/** A recipient's state in a word, with its time where it has one. */
export function stateChip(row) {
  if (row.state === "waiting") {
    return row.due !== null && row.due > now() ? chip(["next ", ago(row.due)]) : chip("due now", "accent");
  }
  return chip(row.state === "active" ? "in line" : visible(row.state), TONES[row.state] ?? "");
}

const COLUMNS = [
  { title: "Recipient, from sender", kind: "lead", cell: (row) => [
    h("a", { href: format({ view: "queue", path: ["m", row.queue_id] }), tabindex: "-1" }, told(row.recipient)),
    h("div", { class: "from" }, h("span", { class: "unseen" }, "from "), told(path(row.sender))),
  ] },
  { title: "Arrived", kind: "time", cell: (row) => ago(row.arrived) },
  { title: "Lane", kind: "faint wide off", cell: (row) => told(row.lane) },
  { title: "State", kind: "nowrap", cell: stateChip },
  { title: "Tries", kind: "num off", cell: (row) => count(row.attempts) },
  { title: "Size", kind: "num off", cell: (row) => octets(row.size_octets) },
  { title: "Last answer", kind: "wide reason", cell: (row) => told(row.reason) },
];

/** A query as what a verb meets, with how many those are. */
async function allThatMatch(query) {
  const { recipients, is_all } = await get("queue/count", query);
  return new Meant({ query, many: recipients, atLeast: !is_all });
}
