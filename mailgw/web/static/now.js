// What the gateway does right now, and did in the last hour, day and week.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { count, duration, octets, rate, short } from "./format.js";
import { Feed } from "./live.js";
import { chip, segments, told, viewHead } from "./parts.js";
import { plotOf, sparkline } from "./plot.js";
import { asking, format } from "./route.js";
import { thinned } from "./scale.js";
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
const SPARKS = 60; // points of the small plots

export function nowView(main, first) {
  let route = first;
  let plots = null; // what was answered last
  let timer = 0;
  let listed = "";
  const state = h("span", { class: "live-state", role: "status" });
  const tiles = new Map(TILES.map((tile) => [tile.name, tileOf(tile)]));
  const figures = h("dl", { class: "figures" });
  const lanes = h("div", {});
  const reasons = h("div", {});
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
        h("section", { class: "panel", "aria-labelledby": "now-lanes" }, h("div", { class: "panel-head" }, h("h2", { id: "now-lanes" }, "Queue by destination"), h("span", { class: "spacer" }), h("a", { href: format({ view: "queue", path: ["lanes"] }) }, "All lanes")), lanes),
        h("section", { class: "panel", "aria-labelledby": "now-reasons" }, h("div", { class: "panel-head" }, h("h2", { id: "now-reasons" }, "Queue by reason")), reasons)),
    ),
  );
  paintState("waiting");
  const feed = new Feed("live", { facts: false }, { now: paint }, { state: paintState, silence: 20 });
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
    for (const { name } of TILES) tiles.get(name).show(told.minute[name]);
    fill(figures, figuresOf(told));
    // A list that somebody reads, or is on with the keyboard, is not made anew where nothing changed.
    const now = JSON.stringify([told.lanes.map(({ lane, state, waiting, active, held }) => [lane, state, waiting, active, held]), told.queue?.statuses]);
    if (now === listed) return;
    listed = now;
    fill(lanes, lanesOf(told.lanes));
    fill(reasons, reasonsOf(told.queue?.statuses ?? {}));
  }

  async function askPlots() {
    clearTimeout(timer);
    const span = spanOf(route);
    await region.show((signal) => get("plots", { span }, signal), showPlots, { quietly: plots !== null, lines: 8 });
    timer = setTimeout(() => (document.hidden ? (timer = setTimeout(askPlots, PLOT_MS[span])) : askPlots()), PLOT_MS[span]);
  }

  function showPlots(answer) {
    const { times, values } = seriesOf(answer);
    const steps = `a minute, in steps of ${duration(answer.step_seconds)}`;
    for (const { name } of TILES) tiles.get(name).spark(values[name] ?? []);
    const drawn = PLOTS.map((plot) => ({ ...plot, hint: plot.hint || steps, times, series: plot.series.map((one) => ({ ...one, values: values[one.of] ?? times.map(() => null) })) }));
    if (plots !== null && plotBox.querySelectorAll(".plot").length === drawn.length) {
      drawn.forEach(({ times, series }, at) => plots[at].redraw(times, series));
    } else {
      plots = drawn.map(plotOf);
    }
    return plots;
  }
}

const PLOTS = [
  { title: "Traffic", hint: "", show: rate, series: [{ of: "in", name: "In", kind: "one filled" }, { of: "out", name: "Out", kind: "two" }] },
  { title: "Trouble", hint: "", show: rate, series: [{ of: "deferred", name: "Deferred", kind: "three" }, { of: "bounced", name: "Bounced", kind: "four" }, { of: "rejected", name: "Rejected", kind: "five" }] },
  { title: "Queue and sessions", hint: "at a time", show: short, series: [{ of: "queued", name: "Queued", kind: "one filled" }, { of: "sessions", name: "Sessions", kind: "two" }] },
  { title: "Time to delivery", hint: "from arrival", show: duration, series: [{ of: "p50", name: "Half within", kind: "one" }, { of: "p95", name: "95 of 100 within", kind: "three" }] },
];

function spanOf(route) {
  return SPANS.some(([name]) => name === route.query.span) ? route.query.span : "hour";
}

/** What the API answers, as times and values by name, rates of a minute; a time of which nothing is known has null. */
export function seriesOf(answer) {
  // A step is told when it is over.
  const times = Array.from({ length: answer.steps }, (_, at) => answer.start + (at + 1) * answer.step_seconds);
  const values = { ...answer.columns };
  // The API has a second; most gateways have too few in one for a number, and the tiles say the same of a minute.
  for (const { name } of TILES) values[name] = values[name]?.map((one) => (one === null ? null : one * 60));
  return { times, values };
}

function tileOf({ title, kind, hint }) {
  const number = h("span", { class: "tile-number" }, "–");
  const spark = h("div", { class: "tile-spark" });
  const unit = h("span", { class: "muted" }, " /min");
  const element = h("div", { class: `tile panel ${kind}`, title: hint }, h("h2", {}, title), h("p", {}, number, unit), spark);
  return {
    element,
    show(ofMinute) {
      number.textContent = ofMinute < 100_000 ? count(ofMinute) : short(ofMinute);
    },
    spark: (values) => fill(spark, values.length > 1 && sparkline(thinned(values, SPARKS), kind)),
  };
}

function figuresOf({ queue, sessions, delivery, disk, workers, time }) {
  const sum = (name) => (queue === null ? NaN : queue.backends.reduce((all, one) => all + one[name], 0));
  const deaf = workers.filter((one) => !one.answers).length;
  return [
    figure("Sessions", sessions === null ? "–" : count(sessions.open), sessions !== null && `of ${short(sessions.most)}`),
    figure("Waiting", count(sum("waiting")), queue !== null && !queue.is_whole && "so far"),
    figure("In line", count(sum("active")), "being tried"),
    figure("Held", count(sum("held")), h("a", { href: format({ view: "queue", query: { state: "held" } }) }, "show")),
    figure("Half delivered within", duration(delivery.p50 ?? NaN), delivery.count ? "last minute" : ""),
    figure("95 of 100 within", duration(delivery.p95 ?? NaN), ""),
    figure("Oldest in the queue", queue?.oldest ? duration(time - queue.oldest) : "–"),
    figure("Free on disk", disk === null ? "–" : octets(disk.free_octets), disk !== null && !disk.has_room && chip("full", "bad")),
    deaf > 0 && figure("Workers", `${count(workers.length - deaf)} of ${count(workers.length)}`, chip("answer", "bad")),
  ];
}

function figure(title, number, hint) {
  return h("div", { class: "figure" }, h("dt", {}, title), h("dd", {}, h("b", {}, number), hint && h("span", { class: "muted" }, hint)));
}

function lanesOf(list) {
  const busy = list.filter((lane) => all(lane) > 0 || lane.state !== "well");
  if (busy.length === 0) return empty("Nobody waits");
  const most = Math.max(...busy.map(all));
  return h("ul", { class: "bars" }, busy.slice(0, LANES).map((lane) => barOf(
    [h("a", { href: format({ view: "queue", query: { lane: lane.lane } }) }, told(lane.lane)), lane.state && lane.state !== "well" && chip(lane.state, lane.state === "dead" ? "bad" : "warn")],
    all(lane), most, lane.said || lane.reason,
  )));
}

function reasonsOf(statuses) {
  const list = Object.entries(statuses).sort(([, one], [, other]) => other - one);
  if (list.length === 0) return empty("No answers", "Nobody who waits was refused so far.");
  return h("ul", { class: "bars" }, list.slice(0, LANES).map(([status, many]) => barOf(
    // What is no code is a word of the gateway's for several things.
    [/^[45]\d\d/.test(status) ? h("a", { href: format({ view: "queue", query: { reason: status } }), class: "mono" }, told(status)) : told(status)],
    many, list[0][1],
  )));
}

function all(lane) {
  return lane.waiting + lane.active + lane.held;
}

function barOf(head, many, most, words = "") {
  return h(
    "li", {}, h("div", { class: "bar-head" }, head, h("b", { class: "num" }, count(many))),
    h("meter", { class: "bar-meter", min: 0, max: Math.max(1, most), value: many, "aria-hidden": "true" }),
    words && h("p", { class: "muted clip" }, told(words)),
  );
}
