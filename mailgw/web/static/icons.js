// A few icons of one line width, drawn here so that nothing is fetched.

import { s } from "./dom.js";

const PATHS = {
  now: ["M3 12h4l3-8 4 16 3-8h4"],
  queue: ["M4 6h16", "M4 12h16", "M4 18h10"],
  trace: ["M6 4v10a4 4 0 0 0 4 4h8", "M15 15l3 3-3 3", "M6 4m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0"],
  inbox: ["M4 13l3-8h10l3 8v6H4z", "M4 13h5l1 3h4l1-3h5"],
  health: ["M12 20s-8-5-8-11a4.5 4.5 0 0 1 8-2.8A4.5 4.5 0 0 1 20 9c0 6-8 11-8 11z"],
  light: ["M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8", "M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2"],
  dark: ["M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"],
  system: ["M3 5h18v11H3z", "M9 20h6M12 16v4"],
  keys: ["M3 7h18v10H3z", "M7 11h.01M11 11h.01M15 11h.01M8 14h8"],
  leave: ["M14 4h5v16h-5", "M10 8l-4 4 4 4M6 12h9"],
  again: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"],
  back: ["M14 6l-6 6 6 6"],
  close: ["M6 6l12 12M18 6L6 18"],
  clip: ["M8 12l6-6a3 3 0 0 1 4 4l-8 8a5 5 0 0 1-7-7l8-8"],
  search: ["M11 4a7 7 0 1 0 0 14a7 7 0 1 0 0-14", "M16 16l5 5"],
};

/** Decoration: what it means stands beside it, or in its button's label. */
export function icon(name) {
  return s(
    "svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    PATHS[name].map((line) => s("path", { d: line })),
  );
}
