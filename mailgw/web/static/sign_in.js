// The form that asks for a token.

import { fill, h } from "./dom.js";
import { Offline, Problem } from "./api.js";
import { signIn } from "./session.js";

/** `words`: why it is asked; `done()` once somebody is signed in. */
export function signInForm(main, words, done) {
  const said = h("p", { class: "said", role: "alert" }, words);
  const token = h("input", {
    id: "token", type: "password", class: "input mono", autocomplete: "current-password", required: true, spellcheck: "false",
    "aria-describedby": "token-hint",
  });
  const button = h("button", { type: "submit", class: "button primary" }, "Sign in");
  const form = h(
    "form", { class: "sign-in-form panel", on: { submit: (event) => { event.preventDefault(); send(); } } },
    h("img", { src: "icon.svg", alt: "", width: 40, height: 40 }),
    h("h1", {}, "mailgw"),
    said,
    h("p", { class: "field" }, h("label", { for: "token" }, "Token"), token),
    h("p", { class: "hint", id: "token-hint" }, "One of [[api.token]] in the configuration, or what stands in the file ", h("code", {}, "api-token"), " of the state folder."),
    button,
  );
  fill(main, form);
  token.focus();

  async function send() {
    button.disabled = true;
    try {
      await signIn(token.value.trim());
      token.value = "";
      done();
    } catch (fault) {
      said.textContent = wordsOf(fault);
      token.select();
    } finally {
      button.disabled = false;
    }
  }
}

function wordsOf(fault) {
  if (fault instanceof Offline) return "The gateway does not answer.";
  if (fault instanceof Problem && fault.status === 401) return "That token is not known here.";
  if (fault instanceof Problem && fault.status === 429) return "Too many tries: wait a minute.";
  return String(fault.message);
}
