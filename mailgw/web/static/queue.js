// The queue: a list that is searched and paged, one message, and the lanes.

import { lanesPart } from "./lanes.js";
import { viewOfParts } from "./of_parts.js";
import { messagePart } from "./queue_message.js";
import { listPart } from "./queue_list.js";

const PARTS = { list: listPart, lanes: lanesPart, m: messagePart };

export function queueView(main, route, page) {
  return viewOfParts(main, route, page, PARTS, ({ path: [first, second] }) =>
    first === "lanes" ? "lanes" : first === "m" && second ? "m" : "list");
}
