// Dialogs of sessions, recorded on request for an address or a network; secrets are masked before they are written.

import { fill, h } from "./dom.js";
import { get, pathOf, post, remove } from "./api.js";
import { filledIn } from "./dialogs.js";
import { count, counted, duration, octets, visible } from "./format.js";
import { icon } from "./icons.js";
import { ago, chip, copyable, facts, talk, told, viewHead, when } from "./parts.js";
import { format } from "./route.js";
import { rowsOf } from "./rows.js";
import { may } from "./session.js";
import { Region, empty } from "./states.js";
import { toast } from "./toasts.js";
import { traceTabs } from "./trace_tabs.js";

const EVERY_SECONDS = 4;

export function recordingsPart(main, route) {
  return route.path[1] ? recordingPart(main, route.path[1]) : listPart(main);
}

function listPart(main) {
  const orders = h("div", {});
  const list = h("div", {});
  const region = new Region(list);
  const start = h("button", {
    type: "button", class: "button primary small", disabled: !may("queue"), title: may("queue") ? null : "Your token does not list the scope “queue”", on: { click: askStart },
  }, "Record a client…");
  fill(main, viewHead("Trace", traceTabs("recordings"), h("span", { class: "spacer" }), start), orders, h("section", { class: "panel", "aria-label": "Recorded sessions" }, list));
  ask();
  return { end: () => region.end(), again: () => ask(true) };

  async function ask(quietly = false) {
    await region.show((signal) => get("recordings", {}, signal), show, { quietly, every: EVERY_SECONDS });
  }

  function show(answer) {
    const running = answer.orders;
    fill(orders, running.length > 0 && h("section", { class: "panel", "aria-label": "Being recorded" }, h("ul", { class: "orders" }, running.map((one) => h(
      "li", {}, chip("recording", "bad"), h("b", { class: "mono" }, told(one.network)), h("span", { class: "muted" }, `${count(one.begun)} of ${counted(one.sessions, "session")}, ends `, ago(one.until)),
      h("button", { type: "button", class: "button small", disabled: !may("queue"), on: { click: () => stop(one) } }, "Stop"),
    )))));
    const items = answer.recordings;
    if (items.length === 0) {
      return empty("No recordings", "Record the sessions of a client’s address or network to read what was said, word for word. Passwords and contents are masked before anything is written.");
    }
    return rowsOf({
      label: "Recorded sessions", items, key: (one) => one.session_id, href: (one) => format({ view: "trace", path: ["recordings", one.session_id] }),
      columns: [
        { title: "Began", kind: "time", cell: (one) => when(one.began) },
        { title: "Client", kind: "lead mono", cell: (one) => told(one.peer) },
        { title: "Role", kind: "faint", cell: (one) => told(one.role) },
        { title: "Lasted", kind: "num off", cell: (one) => duration(one.ended - one.began) },
        { title: "Size", kind: "num off", cell: (one) => octets(one.size_octets) },
        { title: "Session", kind: "faint mono", cell: (one) => told(one.session_id) },
      ],
    });
  }

  async function askStart() {
    const answer = await filledIn({
      title: "Record sessions", words: h("p", {}, "Sessions that begin from now on are recorded until the time is over, or there are enough of them. Recordings are kept for 7 days."), verb: "Record",
      fields: [
        { name: "network", label: "Client’s address or network", hint: "203.0.113.7 or 203.0.113.0/24", required: true },
        { name: "minutes", label: "Minutes", value: "10", type: "number", min: 1, max: 60, required: true },
        { name: "sessions", label: "Sessions at the most", value: "20", type: "number", min: 1, max: 100, required: true },
      ],
    });
    if (answer === null) return;
    try {
      await post("recordings", { network: answer.network, minutes: Number(answer.minutes), sessions: Number(answer.sessions) });
      toast(`Recording sessions of ${visible(answer.network)}`);
      ask(true);
    } catch (fault) {
      toast("Nothing is recorded", { kind: "trouble", detail: fault.message });
    }
  }

  async function stop(one) {
    try {
      await post("recordings/stop", { id: one.id });
      toast(`Not recording ${visible(one.network)} any more`);
      ask(true);
    } catch (fault) {
      toast("It goes on", { kind: "trouble", detail: fault.message });
    }
  }
}

function recordingPart(main, sessionId) {
  const body = h("div", {});
  const region = new Region(body);
  const back = format({ view: "trace", path: ["recordings"] });
  fill(main, h("div", { class: "view-head" }, h("a", { class: "button quiet icon-only", href: back, "aria-label": "Back to the recordings", title: "Back (Escape)" }, icon("back")),
    h("h1", {}, "Session ", h("span", { class: "mono" }, sessionId)), copyable(sessionId), h("span", { class: "spacer" }),
    h("button", { type: "button", class: "button small", disabled: !may("queue"), on: { click: drop } }, "Delete")), body);
  region.show((signal) => get(`recordings/${pathOf(sessionId)}`, {}, signal), (one) => h(
    "div", { class: "columns" },
    h("section", { class: "panel", "aria-label": "What was said" }, h("div", { class: "panel-body" }, talk(one.lines))),
    h("section", { class: "panel" }, h("div", { class: "panel-body" }, facts([["Client", told(one.peer)], ["Role", one.role], ["Began", when(one.began)], ["Lines", count(one.lines.length)]]))),
  ), { lines: 12 });
  return { end: () => region.end(), escape: () => { location.hash = back; return true; } };

  async function drop() {
    try {
      await remove(`recordings/${pathOf(sessionId)}`);
      toast("1 recording deleted");
      location.hash = back;
    } catch (fault) {
      toast("It was not deleted", { kind: "trouble", detail: fault.message });
    }
  }
}
