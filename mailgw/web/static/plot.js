// A plot of lines over time in SVG: values where the pointer or the arrow keys are, and a table for who wants that.

import { fill, h, s } from "./dom.js";
import { exact, moment } from "./format.js";
import { alone, areaPath, linear, linePath, nearest, thinned, ticks, timeTicks } from "./scale.js";

const HEIGHT = 168;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 44 };
const BESIDE = 6; // between a level's words and its line
const TABLE_ROWS = 30;

/** `series`: [{name, kind, values}], one value for each of `times` (epoch seconds), null for a gap; `show(value)`: its
 * words.  The element has `redraw(times, series)`. */
export function plotOf({ title, hint, show, times, series }) {
  const graph = s("svg", {
    class: "graph", role: "img", tabindex: "0", "aria-label": `${title}: a plot. Arrow keys read its values.`,
  });
  const legend = h("ul", { class: "legend" });
  const spoken = h("p", { class: "unseen", "aria-live": "polite" });
  const table = h("details", { class: "plot-table" }, h("summary", {}, "As a table"));
  const made = h(
    "figure", { class: "plot panel" },
    h("figcaption", {}, h("h3", {}, title), hint && h("p", { class: "muted" }, hint)),
    graph, legend, spoken, table,
  );
  let drawn = { times, series };
  let cursor = -1;
  let frame = 0;
  let left = MARGIN.left; // as it was painted last

  const draw = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => { if (graph.isConnected) left = paint(graph, drawn, cursor, show); });
    tell();
  };
  const tell = () => {
    const at = cursor < 0 ? lastKnown(drawn.series) : cursor;
    fill(
      legend,
      drawn.series.map(({ name, kind, values }) => h(
        "li", { class: kind }, h("span", { class: "swatch", "aria-hidden": "true" }), `${name} `,
        h("b", {}, at < 0 || values[at] === null || values[at] === undefined ? "–" : show(values[at])),
      )),
      h("li", { class: "at" }, cursor < 0 ? "" : moment(drawn.times[cursor], Date.now() / 1000)),
    );
  };
  const move = (to, isByKey) => {
    cursor = Math.max(-1, Math.min(drawn.times.length - 1, to));
    draw();
    if (isByKey && cursor >= 0) {
      const words = drawn.series.map(({ name, values }) => `${name} ${values[cursor] === null ? "unknown" : show(values[cursor])}`);
      spoken.textContent = `${moment(drawn.times[cursor], Date.now() / 1000)}: ${words.join(", ")}`;
    }
  };
  graph.addEventListener("pointermove", (event) => {
    const box = graph.getBoundingClientRect();
    const [from, to] = [drawn.times[0], drawn.times.at(-1)];
    const time = linear([left, box.width - MARGIN.right], [from, to])(event.clientX - box.left);
    move(nearest(drawn.times, time), false);
  });
  graph.addEventListener("pointerleave", () => move(-1, false));
  graph.addEventListener("blur", () => move(-1, false));
  graph.addEventListener("keydown", (event) => {
    const last = drawn.times.length - 1;
    const at = cursor < 0 ? last + (event.key === "ArrowLeft" ? 1 : 0) : cursor;
    const far = Math.max(1, Math.round(last / 12));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - far, PageDown: at + far, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(Math.max(0, Math.min(last, to)), true);
  });
  table.addEventListener("toggle", () => {
    if (table.open) fill(table, table.firstChild, tableOf(title, drawn, show));
    else fill(table, table.firstChild);
  });
  new ResizeObserver(draw).observe(graph);
  made.redraw = (newTimes, newSeries) => {
    if (cursor >= 0) cursor = nearest(newTimes, drawn.times[cursor]);
    drawn = { times: newTimes, series: newSeries };
    draw();
  };
  tell();
  return made;
}

/** A line without axes, for the corner of a number. */
export function sparkline(values, kind) {
  const [width, height] = [120, 28];
  const highest = Math.max(0, ...values.filter((one) => one !== null));
  const [x, y] = [linear([0, values.length - 1], [1, width - 1]), linear([0, highest || 1], [height - 2, 2])];
  const points = values.map((value, at) => (value === null ? null : [x(at), y(value)]));
  return s(
    "svg", { class: `spark ${kind}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { class: "area", d: areaPath(points, height - 1) }),
    s("path", { class: "line", d: linePath(points) }),
  );
}

/** The plot anew; where its lines begin: to the left of that the words of the levels have their room. */
function paint(graph, { times, series }, cursor, show) {
  const width = Math.max(200, graph.clientWidth || 480);
  graph.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const floor = HEIGHT - MARGIN.bottom;
  const known = series.flatMap(({ values }) => values.filter((one) => one !== null));
  const levels = ticks(Math.max(0, ...known), 3);
  const [from, to] = [times[0] ?? 0, times.at(-1) ?? 1];
  const words = levels.map((level) => s("text", { class: "tick", "text-anchor": "end" }, show(level)));
  // How wide they are is known once they are there, in the reader's letters.
  fill(graph, words);
  const left = Math.max(MARGIN.left, ...words.map((one) => Math.ceil(one.getComputedTextLength()) + BESIDE + 2));
  const x = linear([from, to], [left, width - MARGIN.right]);
  const y = linear([0, levels.at(-1)], [floor, MARGIN.top]);
  const marks = timeTicks(from, to, Math.max(3, Math.floor(width / 90)));
  const isLong = to - from > 2 * 86400;
  fill(
    graph,
    levels.map((level, at) => {
      words[at].setAttribute("x", left - BESIDE);
      words[at].setAttribute("y", y(level) + 3.5);
      return [s("line", { class: "rule", x1: left, x2: width - MARGIN.right, y1: y(level), y2: y(level) }), words[at]];
    }),
    marks.map((time) => s("text", { class: "tick", x: x(time), y: HEIGHT - 6, "text-anchor": "middle" }, markWords(time, isLong))),
    series.map(({ kind, values }) => {
      const most = Math.floor(width);
      const places = values.map((value, at) => (value === null || value === undefined ? null : [x(times[at]), y(value)]));
      const points = places.length > most * 2 ? places.filter((_, at) => at % 2 === 0) : places;
      return [
        kind.includes("filled") && s("path", { class: `area ${kind}`, d: areaPath(points, floor) }),
        s("path", { class: `line ${kind}`, d: linePath(points) }),
        alone(points).map(([cx, cy]) => s("circle", { class: `dot alone ${kind}`, cx, cy, r: 2.5 })),
      ];
    }),
    cursor >= 0 && times[cursor] !== undefined && [
      s("line", { class: "cursor", x1: x(times[cursor]), x2: x(times[cursor]), y1: MARGIN.top, y2: floor }),
      series.map(({ kind, values }) => (values[cursor] === null || values[cursor] === undefined ? null
        : s("circle", { class: `dot ${kind}`, cx: x(times[cursor]), cy: y(values[cursor]), r: 3 }))),
    ],
    known.length === 0 && s("text", { class: "tick", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "Nothing measured yet"),
  );
  return left;
}

function markWords(time, isLong) {
  const then = new Date(time * 1000);
  if (isLong) return then.toLocaleDateString("en", { weekday: "short", day: "numeric" });
  return `${String(then.getHours()).padStart(2, "0")}:${String(then.getMinutes()).padStart(2, "0")}`;
}

function lastKnown(series) {
  const length = Math.max(0, ...series.map(({ values }) => values.length));
  for (let at = length - 1; at >= 0; at -= 1) {
    if (series.some(({ values }) => values[at] !== null && values[at] !== undefined)) return at;
  }
  return -1;
}

/** What is drawn as numbers, newest first, in at most so many rows. */
function tableOf(title, { times, series }, show) {
  const rows = thinned(times, TABLE_ROWS).map((time, at) => [time, series.map(({ values }) => thinned(values, TABLE_ROWS)[at] ?? null)]);
  return h(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` },
    h(
      "table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.map(({ name }) => h("th", { scope: "col", class: "num" }, name)))),
      h("tbody", {}, rows.reverse().map(([time, values]) => h(
        "tr", {}, h("th", { scope: "row" }, exact(time).slice(0, 16)),
        values.map((value) => h("td", { class: "num" }, value === null ? "–" : show(value))),
      ))),
    ),
  );
}
