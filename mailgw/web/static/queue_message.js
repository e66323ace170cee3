// One queued message: its envelope, its header, and each recipient with its attempts and what was said.

import { fill, h } from "./dom.js";
import { address, get, pathOf } from "./api.js";
import { counted, count, duration, exact, octets, path, visible, visibleLines } from "./format.js";
import { toneOf, wordsOf } from "./facts.js";
import { fieldOf } from "./header.js";
import { icon } from "./icons.js";
import { ago, copyable, facts, now, talk, told, when } from "./parts.js";
import { stateChip } from "./queue_list.js";
import { format } from "./route.js";
import { Region } from "./states.js";
import { Meant, verbButtons } from "./verbs.js";

const SHOWN = 100; // recipients
const EVERY_SECONDS = 4;

export function messagePart(main, route, page) {
  const queueId = route.path[1];
  const body = h("div", {});
  const region = new Region(body);
  fill(main, body);
  ask();
  return {
    end: () => region.end(),
    again: () => ask(true),
    escape: () => {
      location.hash = backTo(route);
      return true;
    },
  };

  function ask(quietly = false) {
    region.show(async (signal) => {
      const at = `queue/messages/${pathOf(queueId)}`;
      // What was tried stands in the journal, which may be off, or may not be looked into for want of time.
      const [message, attempts] = await Promise.all([get(at, {}, signal), get(`${at}/attempts`, {}, signal).catch((fault) => fault)]);
      return { ...message, attempts: Array.isArray(attempts) ? attempts : [], fault: Array.isArray(attempts) ? null : attempts };
    }, show, { quietly, lines: 12, every: EVERY_SECONDS });
  }

  function show(message) {
    const rows = message.recipients;
    const [one] = rows;
    const subject = fieldOf(message.header, "Subject");
    page.setTitle(subject || queueId);
    const all = () => new Meant({ rows });
    return [
      h(
        "div", { class: "view-head" },
        h("a", { class: "button quiet icon-only", href: backTo(route), title: "Back (Escape)", "aria-label": "Back to the queue" }, icon("back")),
        h("h1", { class: "grow" }, subject ? told(subject) : h("span", { class: "muted" }, "(no subject)")),
        h("div", { class: "buttons" }, verbButtons(all, () => ask(true), { states: rows.map((row) => row.state) })),
      ),
      h(
        "div", { class: "columns" },
        h("div", {}, recipientsPanel(rows, message), headerPanel(message)),
        h("div", {}, envelopePanel(one, rows, queueId)),
      ),
    ];
  }

  function recipientsPanel(rows, message) {
    const { attempts } = message;
    return h(
      "section", { class: "panel", "aria-labelledby": "recipients" },
      h("div", { class: "panel-head" }, h("h2", { id: "recipients" }, counted(rows.length, "recipient")), message.fault && h("span", { class: "muted" }, `no attempts to show: ${visible(message.fault.message)}`)),
      h("ul", { class: "recipients" }, rows.slice(0, SHOWN).map((row) => h(
        "li", {},
        h("div", { class: "recipient-head" }, h("h3", {}, told(row.recipient)), stateChip(row),
          rows.length > 1 && h("span", { class: "buttons" }, verbButtons(() => new Meant({ rows: [row] }), () => ask(true), { states: [row.state], small: true }))),
        facts([
          ["Lane", h("a", { href: format({ view: "queue", query: { lane: row.lane } }) }, told(row.lane))],
          ["Next attempt", row.due === null ? "" : h("span", {}, ago(row.due), h("span", { class: "muted" }, ` (${exact(row.due)})`))],
          ["Attempts", count(row.attempts)],
          ["Last answer", row.reason && told(row.reason)],
          ["Asked for", row.recipient_parameters],
        ]),
        attemptsOf(attempts.filter((one) => one.lane === row.lane || one.results.some((result) => result.recipient === row.recipient)), row.recipient),
      ))),
      rows.length > SHOWN && h("p", { class: "foot" }, `and ${count(rows.length - SHOWN)} more: `, h("a", { href: format({ view: "queue", query: { search: queueId } }) }, "all of them as a list")),
    );
  }
}

/** Attempts at a recipient, oldest first, each with what was said in it where the journal has it. */
function attemptsOf(attempts, recipient) {
  const own = attempts.map((one) => ({ ...one, result: one.results.find((result) => result.recipient === recipient) ?? null }))
    .filter((one) => one.result !== null || one.results.length === 0);
  if (own.length === 0) return null;
  return h("ol", { class: "attempts", "aria-label": "Attempts" }, own.map((one, at) => {
    const { result } = one;
    return h(
      "li", { class: result === null ? "" : toneOf(result) },
      h("div", { class: "attempt-head" }, when(one.time), told(result === null ? "under way" : wordsOf({ ...result, recipient: "" }))),
      one.conversations.map(({ hop, lines, seconds }) => h(
        "details", { open: at === own.length - 1 && lines.length < 20 },
        h("summary", {}, `conversation with ${visible(hop)}, ${counted(lines.length, "line")}${seconds ? `, ${duration(seconds)}` : ""}`), talk(lines),
      )),
    );
  }));
}

function envelopePanel(one, rows, queueId) {
  const size = one.size_octets;
  return h(
    "section", { class: "panel", "aria-labelledby": "envelope" },
    h("div", { class: "panel-head" }, h("h2", { id: "envelope" }, "Envelope")),
    h("div", { class: "panel-body" }, facts([
      ["Queue id", h("span", {}, h("code", {}, queueId), " ", copyable(queueId))],
      ["Sender", told(path(one.sender))],
      ["Arrived", h("span", {}, ago(one.arrived), h("span", { class: "muted" }, ` (${exact(one.arrived)})`))],
      ["Waiting for", duration(now() - one.arrived)],
      ["Size", octets(size)],
      ["Login", one.login && told(one.login)],
      ["From", one.peer && told([one.peer, one.helo && `(${one.helo})`].filter(Boolean).join(" "))],
      ["Protocol", one.protocol],
      ["Asked for", one.parameters],
    ])),
    h(
      "div", { class: "foot" },
      h("a", { href: format({ view: "trace", path: [queueId] }) }, "Its whole way"),
      h("a", { href: address(`queue/messages/${pathOf(queueId)}/content`), download: `${queueId}.eml` }, "Download"),
    ),
  );
}

function headerPanel(message) {
  return h(
    "section", { class: "panel", "aria-labelledby": "header" },
    h("div", { class: "panel-head" }, h("h2", { id: "header" }, "Header")),
    h("pre", { class: "text panel-body", tabindex: "0", role: "region", "aria-labelledby": "header" }, h("bdi", {}, visibleLines(message.header))),
  );
}

function backTo(route) {
  return format({ view: "queue", query: route.query });
}
