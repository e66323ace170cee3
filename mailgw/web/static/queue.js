// The queue: a list that is searched and paged, one message, and the lanes.

import { fill } from "./dom.js";
import { lanesPart } from "./lanes.js";
import { messagePart } from "./queue_message.js";
import { listPart } from "./queue_list.js";

const PARTS = { list: listPart, lanes: lanesPart, m: messagePart };

export function queueView(main, route, page) {
  let part = null;
  let name = "";
  const view = {
    update(to) {
      const next = to.path[0] === "lanes" ? "lanes" : to.path[0] === "m" && to.path[1] ? "m" : "list";
      if (part !== null && next === name && next === "list") {
        part.update(to);
        return;
      }
      part?.end();
      fill(main);
      name = next;
      part = PARTS[next](main, to, page);
    },
    end: () => part?.end(),
    search: () => part?.search?.() ?? false,
    escape: () => part?.escape?.() ?? false,
    again: () => part?.again?.(),
  };
  view.update(route);
  return view;
}
