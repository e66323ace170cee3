// The switch between the parts of the trace view.

import { h } from "./dom.js";
import { format } from "./route.js";

const TABS = [["search", "Search", []], ["live", "Live", ["live"]], ["recordings", "Recordings", ["recordings"]]];

export function traceTabs(current) {
  return h("nav", { class: "segments", "aria-label": "Trace" }, TABS.map(([name, words, path]) => h(
    "a", { class: "button small", href: format({ view: "trace", path }), "aria-current": current === name ? "page" : null }, words,
  )));
}
