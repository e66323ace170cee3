// What was just done, said at the foot of the page, with a way back where there is one.

import { h } from "./dom.js";

const SECONDS = 8;
const MOST = 4;
const NARROW = "(max-width: 800px)"; // as the style has it: there is room for one

/** `undo`: {words, act} for a button; `kind`: done, or trouble, which stays until it is closed. */
export function toast(words, { kind = "done", undo = null, detail = "" } = {}) {
  const box = document.getElementById("toasts");
  const close = () => made.remove();
  const made = h(
    "div", { class: `toast ${kind}` },
    h("div", { class: "toast-words" }, h("p", {}, words), detail && h("p", { class: "muted" }, detail)),
    undo && h("button", { type: "button", class: "button small", on: { click: () => (close(), undo.act()) } }, undo.words),
    h("button", { type: "button", class: "button quiet small", "aria-label": "Dismiss", on: { click: close } }, "✕"),
  );
  box.append(made);
  while (box.children.length > (matchMedia(NARROW).matches ? 1 : MOST)) box.firstChild.remove();
  if (kind === "done") {
    let timer = setTimeout(close, SECONDS * 1000);
    // Who reads it, or is on its button, keeps it.
    for (const stay of ["mouseenter", "focusin"]) made.addEventListener(stay, () => clearTimeout(timer));
    for (const go of ["mouseleave", "focusout"]) {
      made.addEventListener(go, () => {
        clearTimeout(timer);
        timer = setTimeout(close, SECONDS * 500);
      });
    }
  }
}

/** What was said belongs to the view that is left. */
export function clearToasts() {
  document.getElementById("toasts").replaceChildren();
}
