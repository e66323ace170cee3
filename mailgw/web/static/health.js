// Whether the gateway is well: what is wrong first, then certificates, disk, lanes, plug-ins, workers and configuration.

import { fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { confirmed, said } from "./dialogs.js";
import { count, counted, exact, octets, relative, visible, visibleLines } from "./format.js";
import { ago, chip, facts, now, told, viewHead } from "./parts.js";
import { format } from "./route.js";
import { may } from "./session.js";
import { Region } from "./states.js";
import { toast } from "./toasts.js";
import { tomlOf } from "./toml.js";

const EVERY_SECONDS = 10;
const DAY = 86400;
const SHOWN = 20;

export function healthView(main) {
  const body = h("div", {});
  const region = new Region(body);
  const config = h("div", {});
  const configRegion = new Region(config);
  const changes = h("div", { "aria-live": "polite" });
  const reload = h("button", {
    type: "button", class: "button small", disabled: !may("queue"),
    title: may("queue") ? "Read the configuration again" : "Your token does not list the scope “queue”", on: { click: askReload },
  }, "Reload…");
  fill(main, viewHead("Health", h("span", { class: "spacer" }), reload), changes, body, config);
  ask();
  return { end: () => { region.end(); configRegion.end(); }, again: () => ask(true) };

  function ask(quietly = false) {
    region.show((signal) => get("health", {}, signal), show, { quietly, lines: 14, every: EVERY_SECONDS });
    configRegion.show((signal) => get("config", {}, signal), (answer) => {
      document.dispatchEvent(new CustomEvent("mailgw:configured", { detail: answer }));
      return configPanel(answer);
    }, { quietly, lines: 2 });
  }

  /** What would change is shown before it does. */
  async function askReload() {
    reload.disabled = true;
    try {
      const would = await post("reload", { check: true });
      if (would.note && would.changes.length === 0) {
        await said({ title: "There is no file to read", words: h("p", {}, visible(would.note.charAt(0).toUpperCase() + would.note.slice(1)), ".") });
        return;
      }
      const yes = await confirmed({
        title: "Reload the configuration?", verb: "Reload", isFinal: false,
        words: h("p", {}, would.changes.length ? `${counted(would.changes.length, "change")}, all at once or none; no connection is closed.` : "Nothing in it has changed; certificates, accounts and aliases are read again."),
        more: would.changes.length > 0 && h("ul", {}, would.changes.slice(0, SHOWN).map((line) => h("li", {}, told(line))), would.changes.length > SHOWN && h("li", {}, `and ${count(would.changes.length - SHOWN)} more`)),
      });
      if (!yes) return;
      paintChanges((await post("reload", {})).changes);
      ask(true);
    } catch (fault) {
      if (Array.isArray(fault.more?.faults)) paintFaults(fault.more.faults);
      else toast("Nothing was reloaded", { kind: "trouble", detail: fault.message });
    } finally {
      reload.disabled = !may("queue");
    }
  }

  function paintChanges(lines) {
    const words = lines.length ? counted(lines.length, "change") : "Nothing had changed";
    toast(`Reloaded: ${words.toLowerCase()}`);
    fill(changes, listPanel("What the reload changed", chip("reloaded", "good"), words, lines));
  }

  function paintFaults(lines) {
    fill(changes, listPanel("Why nothing was reloaded", chip("refused", "bad"), "Nothing was changed: the gateway goes on as it was", lines));
  }
}

function listPanel(label, mark, words, lines) {
  return h("section", { class: "panel", "aria-label": label }, h("div", { class: "panel-head" }, mark, h("b", {}, words)),
    lines.length > 0 && h("ul", { class: "panel-body changes" }, lines.map((line) => h("li", {}, told(line)))));
}

function show(health) {
  return [
    findingsPanel(health.findings),
    h("div", { class: "cards" }, [
      gatewayCard(health), certificatesCard(health.certificates), diskCard(health.disk), lanesCard(health.unwell),
      troublesCard(health.troubles), workersCard(health.workers), notesCard(health.notes),
    ]),
  ];
}

function findingsPanel(findings) {
  if (findings.length === 0) {
    return h("section", { class: "panel verdict good", "aria-label": "In short" }, h("div", { class: "panel-head" }, chip("all is well", "good"), h("span", {}, "Nothing is wrong that the gateway knows of.")));
  }
  const isBad = findings.some((one) => one.level === "bad");
  return h("section", { class: `panel verdict ${isBad ? "bad" : "warn"}`, "aria-label": "In short" }, h("ul", { class: "panel-body entries" }, findings.map((one) => h(
    "li", { class: "finding" }, chip(one.level === "bad" ? "trouble" : "mind", one.level), h("b", {}, told(one.what)), told(one.why),
  ))));
}

function card(title, tone, word, ...contents) {
  return h("section", { class: "panel card", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", {}, title), h("span", { class: "spacer" }), word && chip(word, tone)), h("div", { class: "panel-body" }, contents));
}

function gatewayCard({ hostname, version, began, pid, sessions, most_sessions: most, listeners }) {
  return card("Gateway", "", "", facts([
    ["Name", told(hostname)], ["Version", version], ["Runs since", h("span", {}, ago(began), h("span", { class: "muted" }, ` (${exact(began)})`))],
    ["Process", String(pid)], ["Sessions", `${count(sessions)} of ${count(most)}`],
    ["Listens", listeners.length > 0 && h("ul", {}, listeners.map((one) => h("li", {}, told(`${one.role} `), h("span", { class: "mono" }, told(one.endpoint)))))],
  ]));
}

function certificatesCard(list) {
  const tones = list.map((one) => (one.why ? ["bad", "unreadable"] : certificateTone(one.not_after, now())));
  const worst = ["bad", "warn", "good"].map((tone) => tones.find(([one]) => one === tone)).find(Boolean) ?? ["", ""];
  return card("Certificates", ...worst, list.length === 0 ? h("p", { class: "muted" }, "None: nothing here speaks TLS.") : h("ul", { class: "entries" }, list.map((one, at) => h(
    "li", {},
    h("div", { class: "entry-head" }, h("b", {}, told(one.name)), chip(one.why ? "unreadable" : `ends ${relative(one.not_after, now())}`, tones[at][0])),
    one.names.length > 0 && h("p", {}, told(one.names.join(", "))),
    h("p", { class: "muted" }, one.why ? told(one.why) : told(`until ${exact(one.not_after).slice(0, 10)}, ${one.key}${one.issuer ? `, by ${one.issuer}` : ""}`)),
    h("p", { class: "muted mono" }, told(one.file)),
  ))));
}

/** How bad it is that a certificate ends then. */
export function certificateTone(end, at) {
  const days = (end - at) / DAY;
  if (days < 0) return ["bad", "over"];
  if (days < 3) return ["bad", "ends soon"];
  return days < 14 ? ["warn", "ends soon"] : ["good", "good"];
}

function diskCard({ path, free_octets: free, reserve_octets: reserve, has_room: hasRoom }) {
  const [tone, word] = hasRoom ? (free < 4 * reserve ? ["warn", "little room"] : ["good", "room"]) : ["bad", "full"];
  return card("Disk", tone, word, facts([
    ["Free", octets(free)], ["Reserve", `${octets(reserve)}, below which no mail is taken`], ["Folder", h("span", { class: "mono" }, told(path))],
  ]));
}

function lanesCard(list) {
  return card("Lanes in trouble", list.length ? "warn" : "good", list.length ? count(list.length) : "none", list.length === 0 ? h("p", { class: "muted" }, "Every destination that is tried answers.") : h("ul", { class: "entries" }, list.slice(0, SHOWN).map((lane) => h(
    "li", {}, h("div", { class: "entry-head" }, h("a", { href: format({ view: "queue", query: { lane: lane.lane } }) }, told(lane.lane)), chip(lane.state, lane.state === "dead" ? "bad" : "warn")),
    h("p", { class: "muted" }, lane.unwell_since !== null && ["since ", ago(lane.unwell_since)], lane.opens_at !== null && [", again ", ago(lane.opens_at)]), lane.said && h("p", {}, told(lane.said)),
  ))));
}

function troublesCard(list) {
  return card("Plug-ins and parts that failed", list.length ? "bad" : "good", list.length ? count(list.length) : "none", list.length === 0 ? h("p", { class: "muted" }, "Nothing failed since the start.") : h("ul", { class: "entries" }, list.slice(0, SHOWN).map((one) => h(
    "li", {}, h("div", { class: "entry-head" }, h("b", {}, told(one.what)), h("span", { class: "muted" }, one.count > 1 ? `${counted(one.count, "time")}, ` : "", ago(one.last))), h("p", {}, told(one.why)),
    one.queue_id && h("p", {}, h("a", { class: "mono", href: format({ view: "trace", path: [one.queue_id] }) }, told(one.queue_id))),
  ))));
}

function workersCard(list) {
  if (list.length === 0) return null;
  const down = list.filter((one) => !one.answers).length;
  return card("Workers", down ? "bad" : "good", down ? `${count(down)} down` : "all run", h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Worker"), h("th", { scope: "col" }, "Process"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "num" }, "Ended"))),
    h("tbody", {}, list.map((one) => h("tr", {}, h("th", { scope: "row" }, String(one.worker)), h("td", {}, one.pid ? String(one.pid) : "–"), h("td", {}, one.answers ? "runs" : one.is_ready ? "does not answer" : "down"), h("td", { class: "num" }, one.ends ? counted(one.ends, "time") : "never"))))));
}

function notesCard(notes) {
  return notes.length > 0 && card("Notes on the configuration", "", count(notes.length), h("ul", { class: "entries" }, notes.map((line) => h("li", {}, told(line)))));
}

function configPanel({ file, written }) {
  return h("section", { class: "panel", "aria-labelledby": "config" },
    h("div", { class: "panel-head" }, h("h2", { id: "config" }, "Configuration in force"), h("span", { class: "spacer" }), h("span", { class: "muted mono" }, told(file || "no file")), h("span", { class: "chip" }, "secrets hidden")),
    h("pre", { class: "text panel-body config", tabindex: "0", role: "region", "aria-labelledby": "config" }, visibleLines(tomlOf(written))));
}
