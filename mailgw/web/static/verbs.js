// What can be done to queued mail: each verb asks as far as it has to, says what it met and what it left alone, and is
// taken back where that can be.

import { h } from "./dom.js";
import { get, post } from "./api.js";
import { chosen, confirmed } from "./dialogs.js";
import { count, counted, visible } from "./format.js";
import { may } from "./session.js";
import { toast } from "./toasts.js";

const AT_ONCE = 4;
const LISTED = 5;

/** In the order of the buttons.  `isFinal`: it cannot be taken back. */
export const VERBS = [
  { name: "retry", words: "Retry", done: "due now", hint: "Try now, instead of when the schedule says" },
  { name: "hold", words: "Hold", done: "held", back: "release", hint: "Tried by nobody until it is released" },
  { name: "release", words: "Release", done: "released", back: "hold", hint: "Held mail goes on" },
  { name: "reroute", words: "Re-route…", done: "re-routed", hint: "By another backend, now" },
  { name: "bounce", words: "Bounce…", done: "bounced", isFinal: true, hint: "Back to its sender, with a notice" },
  { name: "remove", words: "Cancel…", done: "cancelled", isFinal: true, hint: "Forget it, without a bounce" },
];

/** What a verb is to meet: `rows` of the queue that were chosen, or a `query` and how many that `many` matches
 * (`atLeast`: or more).  */
export class Meant {
  constructor({ rows = null, query = null, many, atLeast = false }) {
    Object.assign(this, { rows, query, many: many ?? rows.length, atLeast });
  }

  get words() {
    return `${this.atLeast ? "at least " : ""}${counted(this.many, "recipient")}`;
  }

  list() {
    const rows = this.rows ?? [];
    return rows.length > 0 && h("ul", {}, rows.slice(0, LISTED).map((row) => h("li", {}, h("bdi", {}, visible(row.recipient)))),
      rows.length > LISTED && h("li", { class: "muted" }, `and ${count(rows.length - LISTED)} more`));
  }
}

/** Buttons for all verbs; `meant()` says what they meet, which may take a moment; `after()` once one was done. */
export function verbButtons(meant, after, { states = null, small = false } = {}) {
  const mayOrder = may("queue");
  return VERBS.filter((verb) => isSensible(verb, states)).map((verb) => h(
    "button",
    {
      type: "button", class: `button ${small ? "small" : ""}`, disabled: !mayOrder, "data-verb": verb.name,
      title: mayOrder ? verb.hint : "Your token does not list the scope “queue”",
      on: { click: async (event) => {
        const button = event.currentTarget;
        button.disabled = true;
        try {
          await give(verb, await meant(), after);
        } catch (fault) {
          toast(`${verb.words.replace("…", "")} failed`, { kind: "trouble", detail: fault.message });
        } finally {
          button.disabled = !mayOrder;
        }
      } },
    },
    verb.words,
  ));
}

/** Whether a verb means anything to rows in such states; null: they are not known. */
export function isSensible(verb, states) {
  if (states === null) return true;
  if (verb.name === "hold") return states.some((state) => state !== "held");
  if (verb.name === "release") return states.includes("held");
  return true;
}

async function give(verb, meant, after) {
  if (meant === null) return;
  if (meant.many === 0) {
    toast("Nothing matches: nothing was done.");
    return;
  }
  const more = {};
  if (verb.name === "reroute") {
    const to = await askBackend(meant);
    if (to === null) return;
    more.to = to;
  } else if (verb.isFinal || meant.rows === null) {
    const yes = await confirmed({
      title: `${verb.words.replace("…", "")} ${meant.words}?`,
      words: h("p", {}, QUESTIONS[verb.name]),
      more: meant.list(), verb: `${verb.words.replace("…", "")} ${count(meant.many)}`, many: meant.many, isFinal: verb.isFinal ?? false,
    });
    if (!yes) return;
  }
  const changed = (meant.rows ?? []).filter((row) => (verb.name === "hold" ? row.state !== "held" : row.state === "held"));
  const answer = await order(verb.name, meant, more);
  const undo = verb.back && changed.length > 0
    ? { words: "Undo", act: () => order(verb.back, new Meant({ rows: changed }), {}).then((back) => {
      toast(outcome(back, verb.back === "hold" ? "held" : "released"));
      after();
    }, (fault) => toast("That could not be taken back", { kind: "trouble", detail: fault.message })) }
    : null;
  toast(outcome(answer, verb.done), { undo, detail: leftWords(answer) });
  after();
}

const QUESTIONS = {
  remove: "Nobody is told, and it is gone for good.",
  bounce: "Its sender gets a notice that it could not be delivered, and it is gone from the queue.",
  hold: "Nobody tries it until it is released.",
  release: "It is tried again.",
  retry: "It is tried now, whatever the schedule says.",
};

/** "12 recipients held"; what was left alone is said by `leftWords`. */
export function outcome(answer, done) {
  return answer.recipients === 0 ? `Nothing was ${done}` : `${counted(answer.recipients, "recipient")} ${done}`;
}

/** Why some that were meant were left alone; "" where none was. */
export function leftWords(answer) {
  const left = [];
  if (answer.active) left.push(`${counted(answer.active, "recipient")} left alone: being tried right now`);
  if (answer.held) left.push(`${counted(answer.held, "recipient")} held still`);
  if (answer.later) left.push(`${counted(answer.later, "recipient")} not tried before the time that the sender set`);
  if (answer.suspended) left.push(`${counted(answer.suspended, "recipient")} not tried: the destination is suspended`);
  if (answer.unwell) left.push(`${counted(answer.unwell, "recipient")} not tried at once: the destination is unwell`);
  return left.join("; ");
}

/** Give an order, and sum up what it met. */
export async function order(verb, meant, more) {
  const queries = meant.rows ? meant.rows.map(({ queue_id, recipient }) => ({ queue_id, recipient })) : [meant.query];
  const sum = { recipients: 0, active: 0, held: 0, later: 0, suspended: 0, unwell: 0 };
  for (let at = 0; at < queries.length; at += AT_ONCE) {
    const answers = await Promise.all(queries.slice(at, at + AT_ONCE).map((query) => post(`queue/${verb}`, { which: query, ...more })));
    for (const answer of answers) {
      for (const name of Object.keys(sum)) sum[name] += total(answer?.[name]);
    }
  }
  return sum;
}

/** A number, or the recipients of several groups. */
function total(told) {
  return Array.isArray(told) ? told.reduce((sum, one) => sum + one.recipients, 0) : Number(told ?? 0);
}

async function askBackend(meant) {
  const names = await get("queue/backends");
  return chosen({
    title: `Re-route ${meant.words}`, words: h("p", {}, "They wait for the backend chosen here, and are tried at once."), more: meant.list(),
    label: "Backend", options: names.map((name) => ({ value: name, words: name })), verb: "Re-route",
  });
}
