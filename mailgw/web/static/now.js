// What the gateway does right now, and did in the last hour, day and week.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { count, counted, duration, rate, short } from "./format.js";
import { Feed } from "./live.js";
import { ago, chip, segments, told, viewHead } from "./parts.js";
import { plotOf, sparkline } from "./plot.js";
import { asking, format } from "./route.js";
import { Region, empty } from "./states.js";

const SPANS = [["hour", "Hour"], ["day", "Day"], ["week", "Week"]];
const PLOT_MS = { hour: 10_000, day: 60_000, week: 120_000 };
const TILES = [
  { name: "in", title: "In", kind: "one", hint: "messages that clients brought" },
  { name: "out", title: "Out", kind: "one", hint: "recipients delivered to" },
  { name: "deferred", title: "Deferred", kind: "three", hint: "attempts that failed for now" },
  { name: "bounced", title: "Bounced", kind: "four", hint: "recipients that failed for good" },
  { name: "rejected", title: "Rejected", kind: "five", hint: "commands refused" },
];
const LANES = 8;

export function nowView(main, first) {
  let route = first;
  let plots = null; // what was answered last
  let timer = 0;
  const state = h("span", { class: "live-state", role: "status" });
  const tiles = new Map(TILES.map((tile) => [tile.name, tileOf(tile)]));
  const figures = h("dl", { class: "figures" });
  const lanes = h("div", {});
  const plotBox = h("div", { class: "plots" });
  const region = new Region(plotBox);
  const spans = segments("Span of the plots", SPANS, spanOf(first), (span) => { location.hash = format(asking(route, { span: span === "hour" ? "" : span })); });
  fill(
    main,
    viewHead("Now", state, h("span", { class: "spacer" }), spans),
    h("section", { class: "tiles", "aria-label": "Rates of the last minute" }, [...tiles.values()].map(({ element }) => element)),
    h(
      "div", { class: "columns now-columns" },
      plotBox,
      h("div", {},
        h("section", { class: "panel", "aria-labelledby": "at-once" }, h("div", { class: "panel-head" }, h("h2", { id: "at-once" }, "At this moment")), figures),
        h("section", { class: "panel", "aria-labelledby": "now-lanes" }, h("div", { class: "panel-head" }, h("h2", { id: "now-lanes" }, "Queue by destination"), h("span", { class: "spacer" }), h("a", { href: format({ view: "queue", path: ["lanes"] }) }, "All lanes")), lanes)),
    ),
  );
  paintState("waiting");
  const feed = new Feed("live", { only: "now" }, { now: paint }, { state: paintState, silence: 20 });
  get("now").then(paint, () => {});
  askPlots();

  return {
    update(to) {
      route = to;
      for (const one of spans.children) one.setAttribute("aria-pressed", String(one.dataset.value === spanOf(to)));
      plots = null;
      askPlots();
    },
    end() {
      feed.end();
      clearTimeout(timer);
      region.end();
    },
    again: () => askPlots(),
  };

  function paintState(word) {
    const words = { live: "live", waiting: "connecting…", ended: "" }[word];
    fill(state, h("span", { class: `dot ${word}`, "aria-hidden": "true" }), words);
  }

  function paint(told) {
    for (const { name } of TILES) tiles.get(name).show(told.rates?.[name]);
    fill(figures, figuresOf(told));
    fill(lanes, lanesOf(told.lanes ?? []));
  }

  async function askPlots() {
    clearTimeout(timer);
    const span = spanOf(route);
    await region.show((signal) => get("plots", { span }, signal), showPlots, { quietly: plots !== null, lines: 8 });
    timer = setTimeout(() => (document.hidden ? (timer = setTimeout(askPlots, PLOT_MS[span])) : askPlots()), PLOT_MS[span]);
  }

  function showPlots(answer) {
    const { times, values } = seriesOf(answer);
    for (const { name } of TILES) tiles.get(name).spark(values[name] ?? []);
    const drawn = PLOTS.map((plot) => ({ ...plot, times, series: plot.series.map((one) => ({ ...one, values: values[one.of] ?? times.map(() => null) })) }));
    if (plots !== null && plotBox.querySelectorAll(".plot").length === drawn.length) {
      drawn.forEach(({ times, series }, at) => plots[at].redraw(times, series));
    } else {
      plots = drawn.map(plotOf);
    }
    return plots;
  }
}

const PLOTS = [
  { title: "Traffic", hint: "a second", show: rate, series: [{ of: "in", name: "In", kind: "one filled" }, { of: "out", name: "Out", kind: "two" }] },
  { title: "Trouble", hint: "a second", show: rate, series: [{ of: "deferred", name: "Deferred", kind: "three" }, { of: "bounced", name: "Bounced", kind: "four" }, { of: "rejected", name: "Rejected", kind: "five" }] },
  { title: "Queue and sessions", hint: "at a time", show: short, series: [{ of: "queued", name: "Queued", kind: "one filled" }, { of: "sessions", name: "Sessions", kind: "two" }] },
  { title: "Time to delivery", hint: "from arrival", show: duration, series: [{ of: "p50", name: "Half within", kind: "one" }, { of: "p95", name: "95 of 100 within", kind: "three" }] },
];

function spanOf(route) {
  return SPANS.some(([name]) => name === route.query.span) ? route.query.span : "hour";
}

/** What the API answers, as times and values by name; a time of which nothing is known has null. */
export function seriesOf(answer) {
  // A step is told when it is over.
  const times = Array.from({ length: answer.steps }, (_, at) => answer.start + (at + 1) * answer.step_seconds);
  return { times, values: answer.columns };
}

function tileOf({ title, kind, hint }) {
  const number = h("span", { class: "tile-number" }, "–");
  const spark = h("div", { class: "tile-spark" });
  const unit = h("span", { class: "muted" }, " /s");
  const element = h("div", { class: `tile panel ${kind}`, title: hint }, h("h2", {}, title), h("p", {}, number, unit), spark);
  return {
    element,
    show(of) {
      // By the minute where a second has too few to be a number.
      const isSlow = Number.isFinite(of) && of > 0 && of < 0.1;
      number.textContent = isSlow ? rate(of * 60) : rate(of);
      unit.textContent = isSlow ? " /min" : " /s";
    },
    spark: (values) => fill(spark, values.length > 1 && sparkline(values, kind)),
  };
}

function figuresOf(told) {
  const queue = told.queue ?? {};
  const delivery = told.delivery ?? {};
  return [
    figure("Sessions", count(told.sessions)),
    figure("Queued", count(queue.waiting), h("a", { href: format({ view: "queue" }) }, "waiting")),
    figure("In line", count(queue.active), "being tried"),
    figure("Held", count(queue.held), h("a", { href: format({ view: "queue", query: { state: "held" } }) }, "show them")),
    figure("Delivered within", duration(delivery.p50), "half of it"),
    figure("and", duration(delivery.p95), "95 of 100"),
  ];
}

function figure(title, number, hint) {
  return h("div", { class: "figure" }, h("dt", {}, title), h("dd", {}, h("b", {}, number), hint && h("span", { class: "muted" }, hint)));
}

function lanesOf(list) {
  const waiting = list.filter((lane) => lane.waiting + (lane.held ?? 0) + (lane.active ?? 0) > 0);
  if (waiting.length === 0) return empty("Nobody waits");
  return h("ul", { class: "bars" }, waiting.slice(0, LANES).map((lane) => barOf(lane, waiting[0])));
}

function barOf(lane, first) {
  const meter = h("meter", { class: "bar-meter", min: 0, max: Math.max(1, first.waiting), value: lane.waiting, "aria-hidden": "true" });
  return h(
    "li", {},
    h("div", { class: "bar-head" }, h("a", { href: format({ view: "queue", query: { lane: lane.lane } }) }, told(lane.lane)), laneChip(lane), h("b", { class: "num" }, count(lane.waiting))),
    meter, lane.reason && h("p", { class: "muted clip" }, told(lane.reason)),
  );
}

function laneChip(lane) {
  const state = lane.suspended ? "suspended" : lane.state;
  return state && state !== "well" && chip(state, state === "dead" ? "bad" : "warn");
}
