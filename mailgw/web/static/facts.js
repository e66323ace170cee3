// Facts of the journal in words: one line each, and how much they matter.  Pure.

import { count, counted, duration, octets, path, visible } from "./format.js";

/** How a fact is shown: "good" (mail got on), "warn" (it waits), "bad" (it does not), "calm". */
export function toneOf(fact) {
  return TONES[fact.event] ?? "calm";
}

/** Its name as people say it. */
export function titleOf(fact) {
  return TITLES[fact.event] ?? visible(String(fact.event ?? "fact").replaceAll("_", " "));
}

/** What it says, on a line; "" where its name says it all. */
export function wordsOf(fact) {
  const make = WORDS[fact.event];
  const words = make ? make(fact) : rest(fact);
  return words.filter(Boolean).join(" · ");
}

/** All fields of a fact but those that every one has, as [name, words]. */
export function fieldsOf(fact) {
  return Object.entries(fact)
    .filter(([name, value]) => !["event", "time", "n", "number"].includes(name) && value !== "" && value !== null)
    .map(([name, value]) => [name.replaceAll("_", " "), valueWords(name, value)]);
}

/** The kinds of facts that a tail can be asked for, in the order of a message's life. */
export const KINDS = [
  ["connected", "Connected"], ["login", "Logged in"], ["login_failed", "Login failed"], ["rejected", "Rejected"],
  ["queued", "Queued"], ["delivered", "Delivered"], ["deferred", "Deferred"], ["bounced", "Bounced"],
  ["held", "Held"], ["trouble", "Trouble"],
];

const TONES = {
  delivered: "good", handed_over: "good", queued: "good", login: "good",
  deferred: "warn", delay_warning: "warn", held: "warn", expired: "warn", unsigned: "warn", tls_failed: "warn",
  login_failed: "warn", ordered: "warn", removed: "warn", discarded: "warn",
  rejected: "bad", bounced: "bad", trouble: "bad", locked_out: "bad", worker_ended: "bad", proxy_failed: "bad",
};

const TITLES = {
  connected: "Connected", disconnected: "Disconnected", tls: "TLS", tls_failed: "TLS failed", login: "Logged in",
  login_failed: "Login failed", locked_out: "Locked out", rejected: "Rejected", queued: "Queued", handed_over: "Handed over",
  authenticated: "Judged", changed: "Changed", discarded: "Discarded", expanded: "Expanded", delivered: "Delivered",
  deferred: "Deferred", bounced: "Bounced", delay_warning: "Sender warned", reported: "Sender told", expired: "Expired",
  held: "Held", signed: "Signed", unsigned: "Unsigned", removed: "Removed", ordered: "Ordered", started: "Started",
  stopped: "Stopped", worker_started: "Worker started", worker_ended: "Worker ended", trouble: "Trouble",
  reverse_name: "Reverse name", fronted: "Fronted", proxy_failed: "Proxy failed", conversation: "Conversation",
  operated: "Operated", reloaded: "Reloaded", token_refused: "Token refused",
};

const ORDERED = {
  hold: "held", release: "released", retry: "retried", reroute: "rerouted", bounce: "returned to its sender",
};

const WORDS = {
  connected: (fact) => [peer(fact), visible(fact.role ?? "")],
  disconnected: (fact) => [peer(fact), visible(fact.why), `after ${duration(fact.seconds)}`, fact.messages ? counted(fact.messages, "message") : ""],
  tls: (fact) => [visible(fact.version), visible(fact.cipher)],
  tls_failed: (fact) => [peer(fact), visible(fact.why)],
  login: (fact) => [visible(fact.login), visible(fact.mechanism), peer(fact)],
  login_failed: (fact) => [visible(fact.login), visible(fact.mechanism), visible(fact.why), peer(fact)],
  locked_out: (fact) => [visible(fact.key), `for ${duration(fact.seconds)}`],
  rejected: (fact) => [
    reply(fact), fact.recipient ? `for ${visible(fact.recipient)}` : "", fact.reverse_path ? `from ${visible(fact.reverse_path)}` : "",
    fact.rule ? `by ${visible(fact.rule)}` : "", `at ${visible(fact.stage)}`, peer(fact),
  ],
  queued: (fact) => [way(fact), octets(fact.size_octets), fact.login ? `login ${visible(fact.login)}` : peer(fact)],
  handed_over: (fact) => [`${path(fact.reverse_path)} → ${visible(fact.recipient)}`, visible(fact.lane), reply(fact)],
  authenticated: (fact) => [(fact.results ?? []).map((one) => visible(String(one).split(" ")[0])).join(", ")],
  changed: (fact) => [(fact.effects ?? []).map(visible).join(", "), visible(fact.why), fact.held ? `held: ${visible(fact.held)}` : ""],
  discarded: (fact) => [way(fact), visible(fact.why)],
  expanded: (fact) => [visible(fact.recipient), `to ${counted(fact.recipients, "address", "addresses")}`],
  delivered: (fact) => [
    visible(fact.recipient), at(fact), reply(fact), `after ${duration(fact.seconds)}`,
    fact.tls ? `${visible(fact.tls)}${fact.verified && fact.verified !== "none" ? `, verified by ${visible(fact.verified)}` : ""}` : "",
  ],
  deferred: (fact) => [visible(fact.recipient), at(fact), reply(fact), fact.retry_seconds ? `again in ${duration(fact.retry_seconds)}` : ""],
  bounced: (fact) => [visible(fact.recipient), at(fact), reply(fact), fact.notice_id ? `notice ${visible(fact.notice_id)}` : ""],
  delay_warning: (fact) => [visible(fact.recipient), fact.notice_id ? `notice ${visible(fact.notice_id)}` : ""],
  reported: (fact) => [visible(fact.recipient), visible(fact.action)],
  expired: (fact) => [visible(fact.recipient)],
  held: (fact) => [visible(fact.recipient), reply(fact)],
  signed: (fact) => [visible(fact.method), visible(fact.domain), (fact.selectors ?? []).map(visible).join(", ")],
  unsigned: (fact) => [visible(fact.why)],
  removed: (fact) => fact.recipient ? [visible(fact.recipient), at(fact)] : [counted(fact.recipients, "recipient")],
  ordered: (fact) => [ORDERED[fact.order] ?? visible(fact.order), visible(others(fact)), fact.to ? `to ${visible(fact.to)}` : "", counted(fact.recipients, "recipient")],
  started: (fact) => [`mailgw ${visible(fact.version)} as ${visible(fact.hostname)}`, (fact.endpoints ?? []).map(visible).join(", ")],
  reloaded: (fact) => [...(fact.faults ?? []).map((one) => `not done: ${visible(one)}`), ...(fact.changes ?? []).map(visible)],
  stopped: (fact) => [`after ${duration(fact.seconds)}`],
  worker_started: (fact) => [`worker ${count(fact.worker)}`],
  worker_ended: (fact) => [`worker ${count(fact.worker)}`, visible(fact.why)],
  trouble: (fact) => [visible(fact.what), visible(fact.why)],
  reverse_name: (fact) => [visible(fact.reverse_name) || "none", fact.is_confirmed ? "confirmed" : "not confirmed"],
  conversation: (fact) => [visible(fact.hop), counted((fact.lines ?? []).length, "line")],
  operated: (fact) => [visible(fact.token), `${visible(fact.method)} ${visible(fact.path)}`, String(fact.http_status), peer(fact)],
  token_refused: (fact) => [`${visible(fact.method)} ${visible(fact.path)}`, peer(fact)],
};

/** What was ordered for, but for the message that this is told of. */
function others(fact) {
  return String(fact.which ?? "").split(" ").filter((word) => word !== `queue_id=${fact.queue_id}`).join(" ");
}

function peer(fact) {
  return fact.peer ? visible(fact.peer) : "";
}

function at(fact) {
  return fact.hop ? `at ${visible(fact.hop)}` : fact.lane ? `in ${visible(fact.lane)}` : "";
}

function reply(fact) {
  return [fact.code || "", visible(fact.status), visible(fact.text)].filter(Boolean).join(" ");
}

function way(fact) {
  const recipients = fact.recipients ?? [];
  const more = recipients.length > 2 ? ` and ${count(recipients.length - 2)} more` : "";
  return `${path(fact.reverse_path)} → ${recipients.slice(0, 2).map(visible).join(", ")}${more}`;
}

function rest(fact) {
  return fieldsOf(fact).map(([name, words]) => `${name} ${words}`);
}

function valueWords(name, value) {
  if (Array.isArray(value)) return value.map((one) => visible(typeof one === "object" ? JSON.stringify(one) : one)).join(", ");
  if (typeof value === "object") return visible(JSON.stringify(value));
  if (name.endsWith("seconds") && typeof value === "number") return duration(value);
  if (name === "size_octets") return octets(value);
  return visible(value);
}
