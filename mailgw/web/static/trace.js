// Why one message is where it is: a search of the journal, a message's whole story, what happens live, and dialogs that
// are recorded on request.

import { viewOfParts } from "./of_parts.js";
import { recordingsPart } from "./recordings.js";
import { tailPart } from "./tail.js";
import { searchPart } from "./trace_search.js";
import { storyPart } from "./trace_story.js";

const PARTS = { search: searchPart, live: tailPart, recordings: recordingsPart, story: storyPart };
const NAMED = ["live", "recordings"];

export function traceView(main, route, page) {
  return viewOfParts(main, route, page, PARTS, ({ path }) =>
    path.length === 0 ? "search" : NAMED.includes(path[0]) ? path[0] : "story");
}
