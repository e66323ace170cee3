// Why one message is where it is: a search of the journal, a message's whole story, what happens live, and dialogs that
// are recorded on request.

import { fill } from "./dom.js";
import { recordingsPart } from "./recordings.js";
import { tailPart } from "./tail.js";
import { searchPart } from "./trace_search.js";
import { storyPart } from "./trace_story.js";

const PARTS = { search: searchPart, live: tailPart, recordings: recordingsPart, story: storyPart };
const NAMED = ["live", "recordings"];

export function traceView(main, route, page) {
  let part = null;
  let name = "";
  const view = {
    update(to) {
      const next = to.path.length === 0 ? "search" : NAMED.includes(to.path[0]) ? to.path[0] : "story";
      if (part?.update && next === name) {
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
    pause: () => part?.pause?.() ?? false,
    again: () => part?.again?.(),
  };
  view.update(route);
  return view;
}
