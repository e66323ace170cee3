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
    const title = fault.status === 422 || fault.status === 400 ? "That makes no sense to the gateway" : fault.title;
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

  constructor(element) {
    this.element = element;
  }

  /** Ask by `ask(signal)`, and show what `render(answer)` makes of it.  `quietly`: what stands there stays meanwhile,
   * also where the gateway does not answer. */
  async show(ask, render, { quietly = false, lines = 6 } = {}) {
    this.end();
    const asked = (this.#asked = new AbortController());
    if (!quietly || !this.element.firstChild) fill(this.element, loading(lines));
    this.element.setAttribute("aria-busy", "true");
    const again = () => this.show(ask, render, { lines });
    try {
      const answer = await ask(asked.signal);
      if (this.#asked !== asked) return;
      fill(this.element, render(answer));
    } catch (fault) {
      if (this.#asked !== asked || fault.name === "AbortError") return;
      if (quietly && fault instanceof Offline && this.element.firstChild) return;
      fill(this.element, failed(fault, again));
      if (fault instanceof Offline) this.#retry = setTimeout(again, 5000);
    } finally {
      if (this.#asked === asked) this.element.removeAttribute("aria-busy");
    }
  }

  /** Nothing more is shown of what was asked. */
  end() {
    clearTimeout(this.#retry);
    this.#asked?.abort();
    this.#asked = null;
  }
}
