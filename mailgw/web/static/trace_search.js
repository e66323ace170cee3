// A search of the journal by queue id, address, Message-ID or client.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { titleOf, toneOf, wordsOf } from "./facts.js";
import { secondsOf } from "./filters.js";
import { count, exact, path } from "./format.js";
import { chip, now, searchField, told, viewHead, when } from "./parts.js";
import { asking, format } from "./route.js";
import { rowsOf } from "./rows.js";
import { Region, empty } from "./states.js";
import { traceTabs } from "./trace_tabs.js";

const SINCE = [["1h", "The last hour"], ["24h", "The last day"], ["7d", "The last week"], ["", "All of it"]];
const LIMIT = 100;

export function searchPart(main, first) {
  let route = first;
  let found = [];
  const results = h("div", {});
  const foot = h("div", {});
  const region = new Region(results);
  const search = searchField("Queue id, address, Message-ID or client's address", "Queue id, address, <Message-ID> or a client’s address", first.query.search ?? "", (words) => go(words));
  const since = h("select", { class: "input", name: "since", "aria-label": "How far back", on: { change: () => go(search.input.value) } },
    SINCE.map(([value, words]) => h("option", { value, selected: value === (first.query.since ?? "24h") }, words)));
  fill(
    main, viewHead("Trace", traceTabs("search")),
    h("section", { class: "panel", "aria-label": "Search the journal" },
      h("form", { class: "filters", role: "search", on: { submit: (event) => { event.preventDefault(); go(search.input.value); } } },
        search.element, since, h("button", { type: "submit", class: "button primary" }, "Trace")),
      results, foot),
  );
  ask();
  return {
    update(to) {
      route = to;
      search.input.value = to.query.search ?? "";
      since.value = to.query.since ?? "24h";
      ask();
    },
    end: () => region.end(),
    search: () => (search.input.focus(), search.input.select(), true),
    again: () => ask(),
  };

  function go(words) {
    location.hash = format({ view: "trace", query: { search: words.trim(), since: since.value === "24h" ? "" : since.value || "all" } });
  }

  function ask(cursor = "") {
    const word = (route.query.search ?? "").trim();
    if (!word) {
      region.end();
      fill(foot);
      fill(results, empty("Where is it?", "Look for a message by its queue id, by a sender’s or recipient’s address, by its Message-ID, or for a client by its address or network."));
      return;
    }
    if (!cursor) found = [];
    const seconds = secondsOf(route.query.since ?? "24h");
    region.show((signal) => get("trace", { word, since: seconds === null ? "" : now() - seconds, after: cursor, limit: LIMIT }, signal), show, { quietly: Boolean(cursor) });
  }

  function show(answer) {
    found = [...found, ...answer.items];
    const next = answer.next ?? null;
    fill(foot, h("div", { class: "foot" }, h("span", {}, answer.searched_back_to ? `Searched back to ${exact(answer.searched_back_to)}` : ""),
      next && h("button", { type: "button", class: "button small", on: { click: () => ask(next) } }, "Search further back")));
    if (found.length === 0) return empty("Nothing found", next ? "Not so far: it may be further back." : "The journal has nothing of that in this time.");
    return rowsOf({
      label: "What the journal has", items: found, columns: COLUMNS, key: (row) => `${row.kind} ${row.queue_id || row.session_id || ""} ${row.time} ${row.event}`,
      href: (row) => (row.queue_id ? format({ view: "trace", path: [row.queue_id] }) : format(asking(route, { search: row.session_id || row.peer }))),
    });
  }
}

const COLUMNS = [
  { title: "Last", kind: "time", cell: (row) => when(row.time) },
  { title: "What", kind: "nowrap what", cell: (row) => (isOpen(row) ? chip("Came") : chip(titleOf(row), toneOf(row))) },
  { title: "From, to", kind: "lead", cell: (row) => (row.kind === "message" || row.kind === "refusal"
    ? [told(path(row.reverse_path)), h("div", { class: "from" }, "to ", told(recipientsOf(row)))]
    : [told(row.peer), h("div", { class: "from" }, told(row.login || row.role || ""))]) },
  { title: "Said last", kind: "reason wide", cell: (row) => told(saidOf(row)) },
  { title: "Id", kind: "faint id off mono", cell: (row) => told(row.queue_id || row.session_id || "") },
];

/** Whether nobody has looked for what became of the message: the journal was too long for that. */
function isOpen(row) {
  return row.kind === "message" && !row.last;
}

function recipientsOf(row) {
  const more = row.recipient_count - row.recipients.length;
  return `${row.recipients.join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}` || "–";
}

function saidOf(row) {
  if (isOpen(row)) return "What became of it was not looked for: open it";
  // Whose result it is, of several recipients; and who did what, where it is no message's.
  if (row.kind === "fact" || (row.kind === "message" && row.event !== "queued")) return wordsOf(row.last);
  const reply = [row.code, row.status, row.text].filter(Boolean).join(" ");
  return [row.hop, reply, row.why].filter(Boolean).join(": ");
}
