// The switch between the lists of the queue.

import { h } from "./dom.js";
import { format } from "./route.js";

/** The switch between the two lists. */
export function queueTabs(current) {
  return h(
    "nav", { class: "segments", "aria-label": "Queue" },
    h("a", { class: "button small", href: format({ view: "queue" }), "aria-current": current === "list" ? "page" : null }, "Messages"),
    h("a", { class: "button small", href: format({ view: "queue", path: ["lanes"] }), "aria-current": current === "lanes" ? "page" : null }, "Lanes"),
  );
}
