// What a region shows in place of its contents: it loads, is empty, failed, cannot reach the gateway, or may not.

import { fill, h } from "./dom.js";
import { Offline, Problem } from "./api.js";

/** Grey lines where rows will be. */
export function loading(lines = 6) {
  return h(
    "div", { class: "state loading", role: "status" },
    h("span", { class: "unseen" }, "Loading…"),
    Array.from({ length: lines }, () => h("div", { class: "skeleton", "aria-hidden": "true" })),
  );
}

/** Nothing there, and that is fine: `title`, what could be done, and perhaps a way to do it. */
export function empty(title, hint = "", ...actions) {
  return notice("empty", title, hint, ...actions);
}

/** What went wrong, in words, with a way on. */
export function failed(fault, retry) {
  const again = retry && h("button", { type: "button", class: "button", on: { click: retry } }, "Try again");
  if (fault instanceof Offline) {
    return notice(
      "offline", "The gateway does not answer",
      "It may be stopped, or the network between may be down. This page tries again by itself.", again,
    );
  }
  if (fault instanceof Problem) {
    if (fault.status === 403) {
      return notice(
        "forbidden", "Your token may not see this",
        fault.detail || "Ask for one that lists the scope that this needs ([[api.token]] in the configuration).",
      );
    }
    if (fault.status === 404) return notice("empty", "Not here", fault.detail || "There is nothing at this address.");
    if (fault.status === 501) return notice("empty", fault.title, fault.detail);
    const title = fault.status === 422 || fault.status === 400 ? "The gateway cannot do that" : fault.title;
    return notice("error", title, fault.detail, again);
  }
  console.error(fault);
  return notice("error", "Something on this page failed", String(fault.message ?? fault), again);
}

function notice(kind, title, hint, ...actions) {
  return h(
    "div", { class: `state ${kind}`, role: kind === "empty" ? "status" : "alert" },
    h("p", { class: "state-title" }, title),
    hint && h("p", { class: "state-hint" }, hint),
    actions.some(Boolean) && h("p", { class: "state-actions" }, actions),
  );
}

/** A part of the page that shows what was asked for, one question at a time: a later one ends an earlier one. */
export class Region {
  #asked = null;
  #retry = 0;
  #timer = 0;
  #shown = "";

  constructor(element) {
    this.element = element;
  }

  /** Ask by `ask(signal)`, and show what `render(answer)` makes of it.  `quietly`: what stands there stays meanwhile,
   * where the gateway does not answer, and where it says the same.  `every`: seconds after which it is asked again, as
   * long as somebody looks and `isFree()`. */
  async show(ask, render, { quietly = false, lines = 6, every = 0, isFree = () => true } = {}) {
    this.end();
    const asked = (this.#asked = new AbortController());
    if (!quietly || !this.element.firstChild) fill(this.element, loading(lines));
    this.element.setAttribute("aria-busy", "true");
    const again = () => this.show(ask, render, { lines, every, isFree });
    try {
      const answer = await ask(asked.signal);
      if (this.#asked !== asked) return;
      const words = JSON.stringify(answer);
      if (!quietly || words !== this.#shown) this.#put(render(answer));
      this.#shown = words;
    } catch (fault) {
      if (this.#asked !== asked || fault.name === "AbortError") return;
      if (quietly && fault instanceof Offline && this.element.firstChild) return;
      this.#shown = "";
      fill(this.element, failed(fault, again));
      if (fault instanceof Offline) this.#retry = setTimeout(again, 5000);
    } finally {
      if (this.#asked === asked) {
        this.element.removeAttribute("aria-busy");
        if (every) this.#later(ask, render, { quietly: true, lines, every, isFree });
      }
    }
  }

  #later(ask, render, options) {
    this.#timer = setTimeout(() => {
      if (document.hidden || !options.isFree()) this.#later(ask, render, options);
      else this.show(ask, render, options);
    }, options.every * 1000);
  }

  /** In place of what was there; who was on a row is on it again. */
  #put(made) {
    const at = this.element.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : null;
    fill(this.element, made);
    if (at) this.element.querySelector(`[data-key="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  }

  /** The next answer is shown, also where it says the same. */
  forget() {
    this.#shown = "";
  }

  /** Nothing more is shown of what was asked. */
  end() {
    clearTimeout(this.#retry);
    clearTimeout(this.#timer);
    this.#asked?.abort();
    this.#asked = null;
  }
}
