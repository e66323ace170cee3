// A view that is one of several parts at a time, as the address says.

import { fill } from "./dom.js";

/** `parts`: by their names, functions (main, route, page); `nameOf(route)`: which one it is.  A part that is asked for
 * again is updated where it can be, and made anew where it cannot. */
export function viewOfParts(main, route, page, parts, nameOf) {
  let part = null;
  let name = "";
  const view = {
    update(to) {
      const next = nameOf(to);
      if (part?.update && next === name) {
        part.update(to);
        return;
      }
      part?.end();
      fill(main);
      name = next;
      part = parts[next](main, to, page);
    },
    end: () => part?.end(),
    search: () => part?.search?.() ?? false,
    escape: () => part?.escape?.() ?? false,
    pause: () => part?.pause?.() ?? false,
    again: () => part?.again?.(),
  };
  view.update(route);
  return view;
}
