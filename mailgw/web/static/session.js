// Who is signed in: a token is exchanged for a cookie that no script can read; the page keeps only its name and scopes.

import { ask, get, post } from "./api.js";
import { tokenIn } from "./route.js";

let current = null;

/** The token of the address, which stands there no longer afterwards: neither in the history nor in a bookmark. */
export function takeToken() {
  const token = tokenIn(location.hash);
  if (token !== null) history.replaceState(null, "", `${location.pathname}${location.search}#/now`);
  return token;
}

/** Exchange a token; Problem 401 where it is none. */
export async function signIn(token) {
  await post("session", { token });
  return (current = await get("session"));
}

/** {name, scopes} of who is signed in already; Problem 401 where nobody is. */
export async function resume() {
  return (current = await get("session"));
}

export async function signOut() {
  current = null;
  await ask("DELETE", "session");
}

export function signedIn() {
  return current;
}

/** Whether the token lists a scope: read, queue, send. */
export function may(scope) {
  return current?.scopes?.includes(scope) ?? false;
}
