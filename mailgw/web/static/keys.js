// The keyboard: single keys and "g x" for the whole page, as long as nobody types and no dialog is open.

const SEQUENCE_MS = 1200;

/** The names of what is bound, for the help: [keys, words]. */
export const HELP = [
  ["g then n, q, t, i, h", "Go to Now, Queue, Trace, Inbox, Health"],
  ["/", "Search"],
  ["j, k or ↓, ↑", "Next, previous row"],
  ["Enter", "Open the row"],
  ["x or Space", "Select the row (where rows can be selected)"],
  ["Escape", "Close, go back"],
  ["p", "Pause or go on (live tail)"],
  ["?", "These keys"],
];

let leading = 0;

/** `go`: {n: f, ...} for what follows g; `keys`: {"/": f, ...}. Returns what ends it. */
export function bindKeys(go, keys) {
  const hear = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key !== "Escape" && (isTyping(event.target) || document.querySelector("dialog[open]"))) return;
    if (event.key === "Escape" && document.querySelector("dialog[open]")) return;
    const now = performance.now();
    if (now < leading && go[event.key]) {
      leading = 0;
      event.preventDefault();
      go[event.key]();
      return;
    }
    leading = 0;
    if (event.key === "g") {
      leading = now + SEQUENCE_MS;
    } else if (keys[event.key]) {
      if (keys[event.key](event) !== false) event.preventDefault();
    }
  };
  document.addEventListener("keydown", hear);
  return () => document.removeEventListener("keydown", hear);
}

export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.tagName === "TEXTAREA" || target.tagName === "SELECT") return true;
  return target.tagName === "INPUT" && !["checkbox", "radio", "button", "submit"].includes(target.type);
}
