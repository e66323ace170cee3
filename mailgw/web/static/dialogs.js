// Questions before what cannot be taken back, and forms in a dialog.

import { fill, h } from "./dom.js";
import { count } from "./format.js";
import { HELP } from "./keys.js";

const TYPED_ABOVE = 100; // who hits more than these says how many

/** Ask; true where it was said yes to.  `many`: how many it meets, to be typed where that is much and it cannot be taken
 * back (`isFinal`). */
export function confirmed({ title, words, verb, many = 1, isFinal = true, more = null }) {
  const mustType = isFinal && many > TYPED_ABOVE;
  const yes = h("button", { type: "submit", class: `button ${isFinal ? "danger" : "primary"}`, disabled: mustType }, verb);
  const typed = mustType && h("input", {
    id: "typed-count", inputmode: "numeric", autocomplete: "off", class: "input",
    on: { input: (event) => { yes.disabled = event.target.value.replace(/\D/g, "") !== String(many); } },
  });
  return opened((dialog) => [
    h("h2", { id: "dialog-title" }, title),
    h("div", { class: "dialog-words" }, words, more),
    mustType && h("p", { class: "field" }, h("label", { for: "typed-count" }, `Type ${count(many)} to go on`), typed),
    h(
      "div", { class: "dialog-foot" },
      h("button", { type: "button", class: "button", on: { click: () => dialog.close("") }, autofocus: !mustType }, "Go back"),
      yes,
    ),
  ], () => true);
}

/** Ask for one of `options` ({value, words}); its value, or null. */
export function chosen({ title, words, label, options, verb, more = null }) {
  const select = h("select", { id: "choice", class: "input" }, options.map((one) => h("option", { value: one.value }, one.words)));
  return opened((dialog) => [
    h("h2", { id: "dialog-title" }, title),
    h("div", { class: "dialog-words" }, words, more),
    h("p", { class: "field" }, h("label", { for: "choice" }, label), select),
    h(
      "div", { class: "dialog-foot" },
      h("button", { type: "button", class: "button", on: { click: () => dialog.close("") } }, "Go back"),
      h("button", { type: "submit", class: "button primary" }, verb),
    ),
  ], () => select.value);
}

/** A form's values by their names, or null. */
export function filledIn({ title, words, fields, verb }) {
  const form = h("div", { class: "dialog-fields" }, fields.map(({ name, label, hint, value = "", type = "text", ...more }) => h(
    "p", { class: "field" },
    h("label", { for: `field-${name}` }, label),
    h("input", { id: `field-${name}`, name, value, type, class: "input", autocomplete: "off", "aria-describedby": hint && `hint-${name}`, ...more }),
    hint && h("span", { class: "hint", id: `hint-${name}` }, hint),
  )));
  return opened((dialog) => [
    h("h2", { id: "dialog-title" }, title),
    words && h("div", { class: "dialog-words" }, words),
    form,
    h(
      "div", { class: "dialog-foot" },
      h("button", { type: "button", class: "button", on: { click: () => dialog.close("") } }, "Go back"),
      h("button", { type: "submit", class: "button primary" }, verb),
    ),
  ], () => Object.fromEntries(fields.map(({ name }) => [name, form.querySelector(`[name=${name}]`).value.trim()])));
}

/** The keys of the page. */
export function showKeys() {
  return said({ title: "Keys", words: h("dl", { class: "keys" }, HELP.map(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)])) });
}

/** What is only to be read; resolves when it was. */
export function said({ title, words }) {
  return opened((dialog) => [
    h("h2", { id: "dialog-title" }, title),
    words,
    h(
      "div", { class: "dialog-foot" },
      h("button", { type: "button", class: "button", autofocus: true, on: { click: () => dialog.close("") } }, "Close"),
    ),
  ], () => null);
}

/** Resolves to what `answer()` says once the form is sent, or to null where the dialog is left. */
function opened(contents, answer) {
  const before = document.activeElement;
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const form = h("form", { method: "dialog", class: "dialog" });
  fill(form, contents(dialog));
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((done) => {
    let said = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      said = answer();
      dialog.close();
    });
    // A press beside it leaves it.
    dialog.addEventListener("mousedown", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus({ preventScroll: true });
      done(said);
    });
    dialog.showModal();
  });
}
