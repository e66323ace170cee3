// The one way to the gateway's API.  What goes wrong is a Problem with the server's own words, or Offline.

const BASE = new URL("api/v1/", document.baseURI);

/** The server said no.  `status` is HTTP's; `detail` what it said. */
export class Problem extends Error {
  constructor(status, title, detail, more = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, more });
  }
}

/** Nobody answered. */
export class Offline extends Error {}

/** The address of an operation; what is asked with an empty value is left out, a list is several. */
export function address(path, query = {}) {
  const made = new URL(path.replace(/^\//, ""), BASE);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) made.searchParams.append(name, one);
    }
  }
  return made;
}

/** An operation's path of parts that may be anything. */
export function pathOf(...parts) {
  return parts.map((part) => encodeURIComponent(part)).join("/");
}

/** What a GET answers. */
export function get(path, query, signal) {
  return ask("GET", path, { query, signal });
}

/** What a POST of JSON answers; null where it answers nothing. */
export function post(path, body, options = {}) {
  return ask("POST", path, { ...options, body });
}

/** What a DELETE answers. */
export function remove(path, query) {
  return ask("DELETE", path, { query });
}

/** The text that an operation answers, of `most` octets or so. */
export async function text(path, query, signal) {
  return (await answered("GET", path, { query, signal, accept: "*/*" })).text();
}

export async function ask(method, path, options = {}) {
  const answer = await answered(method, path, options);
  if (answer.status === 204) return null;
  const kind = answer.headers.get("content-type") ?? "";
  return kind.includes("json") ? answer.json() : null;
}

async function answered(method, path, { query, body, signal, accept = "application/json" }) {
  const headers = { Accept: accept };
  if (method !== "GET") headers["X-Mailgw"] = "1"; // which no form of another site can send
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method, headers, signal, credentials: "same-origin", redirect: "error", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    document.dispatchEvent(new CustomEvent("mailgw:offline"));
    throw new Offline("The gateway does not answer.");
  }
  document.dispatchEvent(new CustomEvent("mailgw:online"));
  if (!answer.ok) {
    const problem = await problemOf(answer);
    if (problem.status === 401 && path !== "session") document.dispatchEvent(new CustomEvent("mailgw:signed-out"));
    throw problem;
  }
  return answer;
}

async function problemOf(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // A proxy's page, or nothing.
  }
  if (told === null || typeof told !== "object") told = {};
  const { title, detail, ...more } = told;
  return new Problem(answer.status, title || answer.statusText || `Status ${answer.status}`, detail || "", more);
}
