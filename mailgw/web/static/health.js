// Whether the gateway is well: certificates, disk, lanes in trouble, plug-ins, workers, and the configuration in force.

import { fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { count, counted, duration, exact, octets, relative, visible, visibleLines } from "./format.js";
import { ago, chip, facts, now, told, viewHead } from "./parts.js";
import { format } from "./route.js";
import { may } from "./session.js";
import { Region, empty } from "./states.js";
import { toast } from "./toasts.js";

const EVERY_SECONDS = 10;
const DAY = 86400;

export function healthView(main) {
  const body = h("div", {});
  const region = new Region(body);
  const changes = h("div", { "aria-live": "polite" });
  const reload = h("button", { type: "button", class: "button small", disabled: !may("queue"), title: may("queue") ? "Read the configuration again" : "Your token does not list the scope “queue”", on: { click: doReload } }, "Reload the configuration");
  fill(main, viewHead("Health", h("span", { class: "spacer" }), reload), changes, body);
  ask();
  return { end: () => region.end(), again: () => ask(true) };

  async function ask(quietly = false) {
    await region.show((signal) => get("health", {}, signal), show, { quietly, lines: 14, every: EVERY_SECONDS });
  }

  async function doReload() {
    reload.disabled = true;
    try {
      const answer = await post("reload", {});
      const lines = answer?.changes ?? answer?.changed ?? [];
      fill(changes, h("section", { class: "panel", "aria-label": "What the reload changed" },
        h("div", { class: "panel-head" }, chip("reloaded", "good"), h("b", {}, lines.length ? counted(lines.length, "change") : "Nothing had changed")),
        lines.length > 0 && h("ul", { class: "panel-body changes" }, lines.map((line) => h("li", {}, told(line))))));
      toast(lines.length ? `Reloaded: ${counted(lines.length, "change")}` : "Reloaded: nothing had changed");
      ask(true);
    } catch (fault) {
      const faults = fault.more?.faults ?? [fault.message];
      fill(changes, h("section", { class: "panel", "aria-label": "Why nothing was reloaded" },
        h("div", { class: "panel-head" }, chip("refused", "bad"), h("b", {}, "Nothing was changed")),
        h("ul", { class: "panel-body changes" }, faults.map((line) => h("li", {}, told(line))))));
    } finally {
      reload.disabled = !may("queue");
    }
  }
}

function show(told_) {
  return h("div", { class: "cards" }, [
    gatewayCard(told_), certificatesCard(told_.certificates ?? []), diskCard(told_.disk ?? null), lanesCard(told_.lanes ?? []),
    pluginsCard(told_.plugins ?? []), workersCard(told_.workers ?? []), configCard(told_.configuration ?? null),
  ]);
}

function card(title, tone, word, ...contents) {
  return h("section", { class: "panel card", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", {}, title), h("span", { class: "spacer" }), word && chip(word, tone)), h("div", { class: "panel-body" }, contents));
}

function gatewayCard(told_) {
  return card("Gateway", told_.is_ready === false ? "bad" : "good", told_.is_ready === false ? visible(told_.why ?? "not ready") : "takes mail", facts([
    ["Name", told_.hostname], ["Version", told_.version], ["Since", told_.started && h("span", {}, ago(told_.started), h("span", { class: "muted" }, ` (${exact(told_.started)})`))],
    ["Listens", (told_.endpoints ?? []).length > 0 && h("ul", {}, told_.endpoints.map((one) => h("li", {}, told(typeof one === "string" ? one : `${one.role}: ${one.endpoint}`))))],
  ]));
}

function certificatesCard(list) {
  const ends = list.map((one) => one.ends ?? one.not_after).filter(Number.isFinite);
  const [tone, word] = certificateTone(Math.min(...ends), now());
  return card("Certificates", tone, word, list.length === 0 ? empty("None", "Nothing here speaks TLS.") : h("ul", { class: "entries" }, list.map((one) => {
    const end = one.ends ?? one.not_after;
    return h("li", {}, h("div", { class: "entry-head" }, h("b", {}, told(one.name)), chip(relative(end, now()), certificateTone(end, now())[0])),
      h("p", { class: "muted" }, told((one.names ?? []).join(", "))), h("p", { class: "muted" }, `ends ${exact(end).slice(0, 10)}${one.issuer ? `, by ${visible(one.issuer)}` : ""}`));
  })));
}

/** How bad it is that a certificate ends then. */
export function certificateTone(end, at) {
  if (!Number.isFinite(end)) return ["", ""];
  const days = (end - at) / DAY;
  if (days < 0) return ["bad", "over"];
  if (days < 7) return ["bad", "ends soon"];
  return days < 21 ? ["warn", "ends soon"] : ["good", "good"];
}

function diskCard(disk) {
  if (disk === null) return null;
  const isLow = disk.free_octets < disk.reserve_octets;
  const total = disk.total_octets ?? 0;
  return card("Disk", isLow ? "bad" : "good", isLow ? "full" : "room", total > 0 && h("meter", { class: "bar-meter", min: 0, max: total, value: total - disk.free_octets, "aria-label": "Used" }), facts([
    ["Free", `${octets(disk.free_octets)}${total ? ` of ${octets(total)}` : ""}`], ["Reserve", `${octets(disk.reserve_octets)}: below it no new mail is taken`],
    ["Queue", disk.spool_octets !== undefined && octets(disk.spool_octets)], ["Folder", disk.folder && told(disk.folder)],
  ]));
}

function lanesCard(list) {
  return card("Lanes in trouble", list.length ? "warn" : "good", list.length ? count(list.length) : "none", list.length === 0 ? h("p", { class: "muted" }, "Every destination that is tried answers.") : h("ul", { class: "entries" }, list.map((lane) => h(
    "li", {}, h("div", { class: "entry-head" }, h("a", { href: format({ view: "queue", query: { lane: lane.lane } }) }, told(lane.lane)), chip(lane.state, lane.state === "dead" ? "bad" : "warn")),
    h("p", { class: "muted" }, lane.unwell_since ? ["since ", ago(lane.unwell_since), ", "] : "", lane.opens_at ? ["again ", ago(lane.opens_at)] : ""), lane.said && h("p", {}, told(lane.said)),
  ))));
}

function pluginsCard(list) {
  const bad = list.filter((one) => !(one.is_well ?? one.state === "well"));
  return card("Plug-ins", bad.length ? "bad" : "good", bad.length ? `${count(bad.length)} failed` : "well", list.length === 0 ? h("p", { class: "muted" }, "Nothing failed.") : h("ul", { class: "entries" }, list.map((one) => h(
    "li", {}, h("div", { class: "entry-head" }, h("b", {}, told(one.name)), chip(one.state ?? "failed", one.is_well || one.state === "well" ? "good" : "bad")), one.why && h("p", { class: "muted" }, told(one.why)),
  ))));
}

function workersCard(list) {
  if (list.length === 0) return null;
  const down = list.filter((one) => !one.is_open).length;
  return card("Workers", down ? "bad" : "good", down ? `${count(down)} down` : "all run", h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Worker"), h("th", { scope: "col" }, "Process"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "num" }, "Since"))),
    h("tbody", {}, list.map((one) => h("tr", {}, h("th", { scope: "row" }, count(one.worker)), h("td", {}, String(one.pid ?? "–")), h("td", {}, one.is_open ? "runs" : "down"), h("td", { class: "num" }, one.started ? duration(now() - one.started) : "–"))))));
}

function configCard(config) {
  if (config === null) return null;
  const words = typeof config === "string" ? config : config.text ?? JSON.stringify(config.tables ?? config, null, 2);
  return h("section", { class: "panel card whole", "aria-labelledby": "config" },
    h("div", { class: "panel-head" }, h("h2", { id: "config" }, "Configuration in force"), h("span", { class: "spacer" }), config.file && h("span", { class: "muted mono" }, told(config.file)), h("span", { class: "chip" }, "secrets masked")),
    h("pre", { class: "text panel-body config", tabindex: "0", role: "region", "aria-labelledby": "config" }, visibleLines(words)));
}
