// The page's own addresses: #/queue/01ABC?sender=a%40b.c is a view, a path within it and what is asked there.  Pure.

export const VIEWS = ["now", "queue", "trace", "inbox", "health"];
const HOME = { view: "now", path: [], query: {} };

/** What an address' fragment means; the first view where it means nothing. */
export function parse(fragment) {
  const [way, , asked] = split(String(fragment).replace(/^#/, ""), "?");
  const [view, ...path] = way.split("/").filter(Boolean).map(decoded);
  if (!VIEWS.includes(view)) return HOME;
  return { view, path, query: Object.fromEntries(new URLSearchParams(asked)) };
}

/** The fragment of a route; what is asked for with an empty value is left out. */
export function format({ view, path = [], query = {} }) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
  const words = asked.toString();
  return `#/${[view, ...path].map(encodeURIComponent).join("/")}${words ? `?${words}` : ""}`;
}

/** The token in a fragment that signs in ("#token=..."), or null. */
export function tokenIn(fragment) {
  const found = /^#token=([^&]+)$/.exec(String(fragment));
  return found ? decoded(found[1]) : null;
}

/** A route's query with some of it changed, and without the place in the list that was looked at. */
export function asking(route, changes) {
  const { after: _, ...kept } = route.query;
  return { ...route, query: { ...kept, ...changes } };
}

function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

function split(words, sign) {
  const at = words.indexOf(sign);
  return at < 0 ? [words, "", ""] : [words.slice(0, at), sign, words.slice(at + 1)];
}
