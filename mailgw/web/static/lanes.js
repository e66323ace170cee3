// The lanes: how many wait for each destination, how it is, and whether anything is tried there.

import { fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { confirmed, filledIn } from "./dialogs.js";
import { count, counted, visible } from "./format.js";
import { ago, chip, told, viewHead } from "./parts.js";
import { queueTabs } from "./queue_tabs.js";
import { format } from "./route.js";
import { rowsOf } from "./rows.js";
import { may } from "./session.js";
import { Region, empty } from "./states.js";
import { toast } from "./toasts.js";

const EVERY_SECONDS = 5;
const MOST = 200;
const TONES = { well: "good", unwell: "warn", dead: "bad", paused: "warn", suspended: "warn" };
const WORDS = { well: "well", unwell: "unwell", dead: "dead", paused: "paused", suspended: "suspended" };

export function lanesPart(main) {
  const list = h("div", {});
  const region = new Region(list);
  const suspend = h("button", {
    type: "button", class: "button small", disabled: !may("queue"), title: may("queue") ? "Try nothing at a destination any more" : "Your token does not list the scope “queue”",
    on: { click: askSuspend },
  }, "Suspend a destination…");
  fill(main, viewHead("Lanes", queueTabs("lanes"), h("span", { class: "spacer" }), suspend), h("section", { class: "panel", "aria-label": "Lanes" }, list));
  let words = []; // what is suspended
  ask();
  return { end: () => region.end(), again: () => ask(true) };

  async function ask(quietly = false) {
    await region.show(async (signal) => {
      const [lanes, suspended] = await Promise.all([get("queue/lanes", { limit: MOST }, signal), get("queue/suspended", {}, signal)]);
      return { ...lanes, suspended };
    }, show, { quietly, every: EVERY_SECONDS });
  }

  function show(answer) {
    const items = answer.lanes;
    words = Object.keys(answer.suspended);
    const idle = words.filter((word) => !items.some((lane) => holds(word, lane.lane)));
    const more = [
      idle.length > 0 && h("p", { class: "filters" }, h("span", { class: "muted" }, "Suspended, and nobody waits there:"), idle.map((word) => h("span", { class: "chip warn" }, told(word),
        h("button", { type: "button", class: "button quiet", disabled: !may("queue"), "aria-label": `Resume ${word}`, on: { click: () => resume(word) } }, "resume")))),
      h("div", { class: "foot" }, h("span", {}, `${counted(answer.lane_count, "lane")}${answer.lane_count > items.length ? `, the ${count(items.length)} longest are shown` : ""}`), h("span", {}, answer.is_whole ? "" : "still counting, ", "counted ", ago(answer.at))),
    ];
    if (items.length === 0) return [empty("Nobody waits", "There is a lane for each destination that mail waits for."), more];
    const table = rowsOf({
      label: "Lanes", items, key: (lane) => lane.lane, columns: [
        { title: "Lane", kind: "lead", cell: (lane) => h("a", { href: format({ view: "queue", query: { lane: lane.lane } }), tabindex: "-1" }, told(lane.lane)) },
        { title: "State", kind: "nowrap", cell: stateOf },
        { title: "Waiting", kind: "num", cell: (lane) => [count(lane.waiting), h("span", { class: "only-narrow" }, "\u00a0waiting")] },
        { title: "Due", kind: "num off", cell: (lane) => count(lane.due_now) },
        { title: "In line", kind: "num off", cell: (lane) => count(lane.active) },
        { title: "Held", kind: "num off", cell: (lane) => count(lane.held) },
        { title: "Next", kind: "faint nowrap off", cell: (lane) => ago(lane.now?.opens_at ?? lane.next_due) },
        { title: "Said last", kind: "wide faint", cell: (lane) => told(lane.now?.said || lane.reason) },
        { title: "Order", kind: "nowrap do", cell: action },
      ],
      href: (lane) => format({ view: "queue", query: { lane: lane.lane } }),
    });
    return [table, more];
  }

  function action(lane) {
    const word = words.find((one) => holds(one, lane.lane));
    const isSuspended = lane.suspended && word !== undefined;
    return h("button", {
      type: "button", class: "button small", tabindex: "-1", disabled: !may("queue"), "aria-label": `${isSuspended ? "Resume" : "Suspend"} ${lane.lane}`,
      on: { click: () => (isSuspended ? resume(word) : suspendLane(lane)) },
    }, isSuspended ? "Resume" : "Suspend");
  }

  async function suspendLane(lane) {
    const meant = lane.waiting + lane.active;
    const yes = await confirmed({
      title: `Suspend ${visible(lane.lane)}?`, words: h("p", {}, `${counted(meant, "recipient")} wait there, and nothing is tried until it is resumed. New mail for it is taken, and waits. This outlives a restart.`),
      verb: "Suspend", many: meant, isFinal: false,
    });
    if (yes) await give("suspend", lane.lane);
  }

  async function askSuspend() {
    const answer = await filledIn({
      title: "Suspend a destination", words: h("p", {}, "Nothing is tried there until it is resumed. New mail for it is taken, and waits."),
      fields: [{ name: "destination", label: "Destination", hint: "A domain, a lane, or a backend with /*: example.net, internet/example.net, internet/*", required: true }], verb: "Suspend",
    });
    if (answer) await give("suspend", answer.destination);
  }

  function resume(word) {
    return give("resume", word);
  }

  async function give(verb, destination) {
    try {
      const answer = await post(`queue/${verb}`, { destination });
      const done = verb === "suspend" ? "suspended" : "resumed";
      const back = verb === "suspend" ? "resume" : "suspend";
      const still = [...new Set((answer.suspended ?? []).flatMap((one) => one.by))];
      toast(answer.changed ? `${visible(destination)} is ${done}` : `${visible(destination)} was ${done} already`, {
        detail: (answer.recipients ? `${counted(answer.recipients, "recipient")} wait there` : "")
          + (still.length ? `; suspended still: ${still.map(visible).join(", ")}` : ""),
        undo: answer.changed ? { words: "Undo", act: () => give(back, destination) } : null,
      });
      ask(true);
    } catch (fault) {
      toast(`That was not possible`, { kind: "trouble", detail: fault.message });
    }
  }
}

/** Whether a word that is suspended is the lane itself, its destination, or all of its backend. */
function holds(word, lane) {
  const at = lane.indexOf("/");
  const [backend, destination] = at < 0 ? [lane, ""] : [lane.slice(0, at), lane.slice(at + 1)];
  return word === lane || word === destination || word === `${backend}/*`;
}

function stateOf(lane) {
  if (lane.suspended) return chip("suspended", "warn");
  const state = lane.now?.state ?? "well";
  return chip(WORDS[state] ?? visible(state), TONES[state] ?? "");
}
