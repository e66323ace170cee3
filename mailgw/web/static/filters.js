// What a reader typed, as the API asks for it.  Pure: the time is handed in.

const AGE = /^\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|w)?\s*$/i;
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
const QUEUE_ID = /^[0-9a-f]{13}[0-9a-v]{3}[0-9A-Za-z]{1,24}$/; // spool/ids.py
const NETWORK = /^(?:\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,2})?|(?=.*:)[0-9a-f:.]+(?:\/\d{1,3})?)$/i;

/** What the queue can be searched by, in the order of the form: [name, label, hint]. */
export const QUEUE_FIELDS = [
  ["sender", "Sender", "ann@example.org"],
  ["recipient", "Recipient", "bob@example.net"],
  ["domain", "Destination", "example.net"],
  ["lane", "Lane", "internet/example.net"],
  ["reason", "Last answer has", "greylisted"],
  ["login", "Login", "ann@example.org"],
  ["older", "Older than", "2h, 3d"],
  ["younger", "Younger than", "30m"],
];

/** "2h" is 7200, "90" is minutes' worth of seconds as it stands; null where it is no length of time. */
export function secondsOf(words) {
  const found = AGE.exec(String(words ?? ""));
  return found ? Number(found[1]) * SECONDS[(found[2] ?? "s").toLowerCase()] : null;
}

/** The API's query for the queue, of a route's; ages become times.  A field that makes no sense is named in `faults`. */
export function queueQuery(asked, now) {
  const query = {};
  const faults = [];
  for (const [name] of QUEUE_FIELDS) {
    const words = (asked[name] ?? "").trim();
    if (!words) continue;
    if (name === "older" || name === "younger") {
      const seconds = secondsOf(words);
      if (seconds === null) faults.push(name);
      else query[name === "older" ? "arrived_before" : "arrived_after"] = now - seconds;
    } else {
      query[name] = words === "<>" && name === "sender" ? "" : words;
    }
  }
  const words = (asked.search ?? "").trim();
  if (words) query[isQueueId(words) ? "queue_id" : "address"] = words;
  if (asked.state) query.state = asked.state;
  return { query, faults };
}

/** Whether words are a queue id. */
export function isQueueId(words) {
  return QUEUE_ID.test(words);
}

/** What of all facts a reader wants to see: {queue_id}, {peer}, or {address}; {} for all. */
export function tailQuery(words) {
  const clean = String(words ?? "").trim();
  if (!clean) return {};
  if (NETWORK.test(clean)) return { peer: clean };
  if (isQueueId(clean)) return { queue_id: clean };
  // A domain is everybody in it.
  return { address: clean.includes("@") ? clean : `@${clean}` };
}

/** What is asked for, as chips: [[name, label, value]], of the fields and the search that a route has. */
export function chipsOf(asked) {
  return QUEUE_FIELDS.filter(([name]) => asked[name]).map(([name, label]) => [name, label, asked[name]]);
}

const INBOX_WORD = /\b(to|from|subject|text):(?:"([^"]*)"|(\S+))/gi;

/** What is looked for in the inbox: to:, from:, subject: and text: name a field, other words are looked for in all;
    a field without words says nothing. */
export function inboxQuery(words) {
  const query = {};
  const rest = String(words ?? "").replace(INBOX_WORD, (_, name, quoted, plain) => {
    const value = (quoted ?? plain).trim();
    if (value) query[name.toLowerCase()] = value;
    return " ";
  }).trim().replace(/\s+/g, " ");
  if (rest) query.search = rest;
  return query;
}
