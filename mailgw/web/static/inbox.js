// Captured mail: a list that is searched and grows as mail arrives, and beside it the message that is read.

import { fill, h } from "./dom.js";
import { Problem, get, remove } from "./api.js";
import { confirmed } from "./dialogs.js";
import { inboxQuery } from "./filters.js";
import { count, counted, path, visible } from "./format.js";
import { inboxMessage } from "./inbox_message.js";
import { icon } from "./icons.js";
import { ago, searchField, told, viewHead } from "./parts.js";
import { asking, format } from "./route.js";
import { rowsOf } from "./rows.js";
import { may } from "./session.js";
import { Region, empty } from "./states.js";
import { toast } from "./toasts.js";

const PAGE = 50;
const WAIT_SECONDS = 25;
const AGAIN_MS = 3000;
const MOST = 1000;

export function inboxView(main, first, page) {
  let route = first;
  let items = [];
  let next = null;
  let totals = { messages: 0, unread: 0 }; // of all that is there
  let waiting = null; // the long question for what arrives
  let reading = null; // {id, end()}
  const list = h("div", {});
  const foot = h("div", {});
  const region = new Region(list);
  const state = h("span", { class: "live-state", role: "status" });
  const search = searchField("Search captured mail", "To, from, subject or text", first.query.search ?? "", (words) => go({ search: words }));
  const removeAll = h("button", { type: "button", class: "button small", disabled: !may("queue"), on: { click: askRemoveAll } }, "Delete all…");
  const pane = h("div", { class: "reading" });
  const split = h("div", { class: "split" },
    h("section", { class: "panel list", "aria-label": "Captured mail" },
      h("form", { class: "filters", role: "search", on: { submit: (event) => { event.preventDefault(); go({ search: search.input.value.trim() }); } } }, search.element),
      list, foot), pane);
  fill(main, viewHead("Inbox", state, h("span", { class: "spacer" }), removeAll), split);
  ask();
  read();

  return {
    update(to) {
      const isSame = JSON.stringify(to.query) === JSON.stringify(route.query);
      route = to;
      search.input.value = to.query.search ?? "";
      if (!isSame) ask();
      read();
    },
    end() {
      waiting?.abort();
      region.end();
      reading?.end();
    },
    search: () => (search.input.focus(), search.input.select(), true),
    again: () => ask(),
    escape: () => {
      if (!route.path[0]) return false;
      const id = route.path[0];
      location.hash = format({ view: "inbox", query: route.query });
      list.querySelector(`tr[data-key="${CSS.escape(id)}"]`)?.focus();
      return true;
    },
  };

  function go(changes) {
    location.hash = format(asking({ ...route, path: [] }, changes));
  }

  async function ask() {
    waiting?.abort();
    let isOff = false;
    await region.show((signal) => get("inbox", { ...inboxQuery(route.query.search), limit: PAGE }, signal).catch((fault) => {
      if (fault.status !== 422) throw fault;
      isOff = true;
      return fault;
    }), (answer) => {
      if (isOff) return empty("Nothing is captured here", answer.detail);
      take(answer);
      return paint();
    }, { lines: 8 });
    if (isOff) fill(state);
    else wait();
  }

  function take({ items: fresh, next: behind, messages, unread }) {
    items = fresh.map((one) => ({ ...one, id: String(one.id) }));
    next = behind;
    totals = { messages, unread };
  }

  /** Each question is answered as soon as something arrives. */
  async function wait() {
    waiting?.abort();
    const asked = (waiting = new AbortController());
    const query = inboxQuery(route.query.search);
    while (!asked.signal.aborted) {
      paintState("live");
      try {
        // Behind the newest that is shown; a microsecond is more than what two numbers of today's size are apart.
        const since = items.length ? items[0].captured + 1e-6 : undefined;
        const answer = await get("inbox", { ...query, since, wait: WAIT_SECONDS, limit: 1 }, asked.signal);
        if (answer.items.length) {
          take(await get("inbox", { ...query, limit: Math.max(PAGE, Math.min(items.length, MOST)) }, asked.signal));
          repaint();
        }
      } catch (fault) {
        if (asked.signal.aborted) return;
        paintState("waiting");
        if (fault instanceof Problem && fault.status !== 503) return;
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    }
  }

  function repaint() {
    const at = list.contains(document.activeElement) ? document.activeElement.closest("tr")?.dataset.key : null;
    fill(list, paint());
    if (at) list.querySelector(`tr[data-key="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  }

  function paint() {
    paintFoot();
    removeAll.disabled = !may("queue") || items.length === 0;
    if (items.length === 0) {
      return route.query.search
        ? empty("Nothing matches", "No captured message has these words.")
        : empty("Nothing has arrived yet", "What is sent through this gateway is shown here as soon as it comes.");
    }
    return rowsOf({
      label: "Captured mail", items, columns: COLUMNS, key: (one) => one.id, current: route.path[0],
      rowClass: (one) => (one.is_read ? "" : "unread"), href: (one) => format({ ...route, path: [one.id] }),
    });
  }

  function paintFoot() {
    const { unread, messages } = totals;
    document.title = `${unread ? `(${unread}) ` : ""}Inbox – mailgw`;
    fill(foot, items.length > 0 && h("div", { class: "foot" }, h("span", {}, `${next ? `${count(items.length)} of ` : ""}${counted(route.query.search ? items.length : messages, "message")}, ${count(unread)} unread`),
      next && h("button", { type: "button", class: "button small", on: { click: more } }, "Older")));
  }

  async function more() {
    const before = items;
    take(await get("inbox", { ...inboxQuery(route.query.search), after: next, limit: PAGE }));
    items = [...before, ...items];
    repaint();
  }

  function read() {
    const id = route.path[0] ?? null;
    split.classList.toggle("is-reading", id !== null);
    for (const row of list.querySelectorAll("tr[data-key]")) {
      if (row.dataset.key === id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (id === null) {
      reading?.end();
      reading = null;
      fill(pane, h("div", { class: "panel" }, empty("Nothing is open", "Choose a message to read it.")));
    } else if (reading?.id !== id) {
      reading?.end();
      reading = inboxMessage(pane, id, {
        tab: route.query.tab, back: () => format({ view: "inbox", query: route.query }),
        seen: () => seen(id), gone: () => gone(id), title: page.setTitle,
      });
    }
  }

  function seen(id) {
    const one = items.find((item) => item.id === id);
    if (one && !one.is_read) {
      one.is_read = true;
      totals.unread -= 1;
      list.querySelector(`tr[data-key="${CSS.escape(id)}"]`)?.classList.remove("unread");
      paintFoot();
    }
  }

  function gone(id) {
    items = items.filter((one) => one.id !== id);
    totals.messages -= 1;
    location.hash = format({ view: "inbox", query: route.query });
    repaint();
  }

  async function askRemoveAll() {
    const query = inboxQuery(route.query.search);
    const isSome = Object.keys(query).length > 0; // words that say nothing mean all, and are told so
    const words = isSome ? `what matches “${visible(route.query.search)}”` : "all captured mail";
    const many = isSome ? (await get("inbox", { ...query, limit: MOST })).items.length : totals.messages;
    const yes = await confirmed({ title: `Delete ${words}?`, words: h("p", {}, `${counted(many, "message")}${many === MOST ? ", or more" : ""}. What was captured is gone for good; nothing else hangs on it.`), verb: `Delete ${count(many)}`, many });
    if (!yes) return;
    try {
      const answer = await remove("inbox", isSome ? query : { all: true });
      toast(`${counted(answer.messages, "message")} deleted`);
      items = [];
      location.hash = format({ view: "inbox", query: route.query });
      ask();
    } catch (fault) {
      toast("Nothing was deleted", { kind: "trouble", detail: fault.message });
    }
  }

  function paintState(word) {
    fill(state, h("span", { class: `dot ${word}`, "aria-hidden": "true" }), word === "live" ? "waiting for mail" : "connecting…");
  }
}

const COLUMNS = [
  { title: "From", kind: "sender clip", cell: (one) => told(one.from || path(one.sender)) },
  { title: "Subject", kind: "lead", cell: (one) => h("a", { href: format({ view: "inbox", path: [one.id] }), tabindex: "-1" }, one.subject ? told(one.subject) : h("span", { class: "muted" }, "(no subject)")) },
  { title: "To", kind: "faint wide", cell: (one) => [one.attachments > 0 && h("span", { class: "has-clip", title: counted(one.attachments, "attachment") }, icon("clip")), told(one.recipients.join(", "))] },
  { title: "Arrived", kind: "time", cell: (one) => ago(one.captured) },
];
