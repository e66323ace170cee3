// One message's story, from the connection that brought it to its last attempt.

import { fill, h } from "./dom.js";
import { get, pathOf } from "./api.js";
import { counted, exact, octets, path } from "./format.js";
import { icon } from "./icons.js";
import { copyable, facts, talk, timeLine, told, when } from "./parts.js";
import { format } from "./route.js";
import { Region, empty } from "./states.js";

const FIRST = 100;
const LAST = 200;
const OPEN = 30; // in a short story what was said is read at once

export function storyPart(main, route, page) {
  const queueId = route.path.at(-1);
  const body = h("div", {});
  const region = new Region(body);
  page.setTitle(queueId);
  fill(
    main,
    h("div", { class: "view-head" },
      h("a", { class: "button quiet icon-only", href: format({ view: "trace" }), "aria-label": "Back to the search", title: "Back (Escape)", on: { click: (event) => { if (history.length > 1) { event.preventDefault(); history.back(); } } } }, icon("back")),
      h("h1", {}, h("span", { class: "mono" }, queueId)), copyable(queueId), h("span", { class: "spacer" }),
      h("a", { class: "button small", href: format({ view: "queue", path: ["m", queueId] }) }, "In the queue")),
    body,
  );
  ask();
  return { end: () => region.end(), again: () => ask(), escape: () => (history.back(), true) };

  function ask() {
    region.show((signal) => get(`trace/${pathOf(queueId)}`, {}, signal), show, { lines: 10 });
  }
}

function show(answer) {
  const { facts: story, message } = answer;
  if (story.length === 0) return empty("The journal has nothing of it", answer.is_cut ? "The search ended before its beginning." : "It may be older than what is kept.");
  return h(
    "div", { class: "columns" },
    h("section", { class: "panel", "aria-label": "What happened, in order" },
      h("div", { class: "panel-body" }, answer.left_out > 0 && h("p", { class: "note" }, `${counted(answer.left_out, "fact")} in between left out`),
        lineOf(story, answer.queue_id))),
    h("div", {},
      h("section", { class: "panel", "aria-labelledby": "message" },
        h("div", { class: "panel-head" }, h("h2", { id: "message" }, "Message")),
        h("div", { class: "panel-body" }, facts([
          ["Sender", message.recipients && told(path(message.reverse_path))],
          ["To", (message.recipients ?? []).length > 0 && told(message.recipients.slice(0, 20).join(", "))],
          ["Message-ID", message.message_id && told(message.message_id)],
          ["Size", message.size_octets && octets(message.size_octets)],
          ["Client", message.peer && told(message.peer)], ["Login", message.login && told(message.login)],
          ["Arrived", message.time && when(message.time)],
          ["Notice of", answer.notice_of && linkTo(answer.notice_of)],
          ["Searched", !answer.is_whole && h("span", { class: "warn" }, `its arrival was not found${answer.searched_back_to ? ` back to ${exact(answer.searched_back_to)}` : ""}`)],
        ]))),
      cameOf("What came of it", answer.notices.map((one) => [one.queue_id, `${one.kind} for ${one.recipient}`])),
      cameOf("Sent because of it", answer.caused.map((one) => [one.queue_id, one.recipients.join(", ")])),
    ),
  );
}

/** The facts along a line; of very many those in the middle only where they are wanted. */
function lineOf(story, queueId) {
  const more = (fact) => [
    fact.queue_id && fact.queue_id !== queueId && h("span", { class: "muted" }, " (of ", linkTo(fact.queue_id), ")"),
    fact.lines?.length > 0 && h("details", { open: story.length < OPEN && fact.lines.length < OPEN }, h("summary", {}, `what was said, ${counted(fact.lines.length, "line")}`), talk(fact.lines)),
  ];
  if (story.length <= FIRST + LAST) return timeLine(story, { more });
  const between = story.slice(FIRST, -LAST);
  const middle = h("div", { class: "between" }, h("button", {
    type: "button", class: "button small", on: { click: () => fill(middle, timeLine(between, { more })) },
  }, `Show ${counted(between.length, "fact")} in between`));
  return [timeLine(story.slice(0, FIRST), { more }), middle, timeLine(story.slice(-LAST), { more })];
}

function cameOf(title, list) {
  return list.length > 0 && h("section", { class: "panel", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", {}, title)),
    h("ul", { class: "panel-body entries" }, list.map(([queueId, words]) => h("li", {}, linkTo(queueId), h("p", { class: "muted" }, told(words))))));
}

function linkTo(queueId) {
  return h("a", { class: "mono", href: format({ view: "trace", path: [queueId] }) }, told(queueId));
}
