// One captured message: as it looks, as text, its source, header, attachments and links.

import { fill, h } from "./dom.js";
import { address, get, pathOf, post, remove, text } from "./api.js";
import { count, counted, octets, visible, visibleLines } from "./format.js";
import { icon } from "./icons.js";
import { ago, copyable, facts, told } from "./parts.js";
import { format } from "./route.js";
import { may } from "./session.js";
import { Region, empty } from "./states.js";
import { toast } from "./toasts.js";

const SHOWN_OCTETS = 512 * 1024;

/** Show the message `id` in `pane`.  `tab`: which is open first; `seen()` once it is shown, `gone()` once it is deleted. */
export function inboxMessage(pane, id, { tab, back, seen, gone, title }) {
  const region = new Region(pane);
  const at = `inbox/${pathOf(id)}`;
  region.show((signal) => get(at, {}, signal), show, { lines: 10 });
  return { id, end: () => region.end() };

  function show(message) {
    title(message.subject || "(no subject)");
    if (!message.is_read && may("queue")) post(`${at}/read`).catch(() => {});
    seen();
    const { parts, links } = message;
    const copies = message.header.filter(({ name }) => name.toLowerCase() === "cc").map(({ value }) => value).join(", ");
    const tabs = [
      message.has_html && ["html", "HTML", () => frameOf(message)],
      ["text", "Text", (box) => fetched(box, `${at}/text`)],
      ["source", "Source", (box) => fetched(box, `${at}/source`)],
      ["headers", "Headers", () => headersOf(message.header)],
      ["attachments", `Attachments ${parts.length || ""}`, () => attachmentsOf(parts)],
      ["links", `Links ${links.length || ""}`, () => linksOf(links)],
    ].filter(Boolean);
    return h(
      "article", { class: "panel message", "aria-label": "Message" },
      h(
        "header", { class: "message-head" },
        h("div", { class: "view-head" },
          h("a", { class: "button quiet icon-only only-narrow", href: back(), "aria-label": "Back to the list" }, icon("back")),
          h("h2", { class: "grow" }, message.subject ? told(message.subject) : h("span", { class: "muted" }, "(no subject)")),
          h("div", { class: "buttons" },
            h("a", { class: "button small", href: address(`${at}/source`), download: `${id}.eml` }, "Download"),
            h("button", { type: "button", class: "button small", disabled: !may("queue"), on: { click: drop } }, "Delete"),
            h("a", { class: "button quiet icon-only small only-wide", href: back(), title: "Close (Escape)", "aria-label": "Close" }, icon("close")))),
        facts([
          ["From", message.from && told(message.from)], ["To", message.to && told(message.to)], ["Cc", copies && told(copies)],
          ["Envelope", h("span", {}, told(message.sender || "<>"), " → ", told(message.recipients.join(", ")))],
          ["Arrived", h("span", {}, ago(message.captured), message.peer && h("span", { class: "muted" }, ` from ${visible(message.peer)}`), message.login && h("span", { class: "muted" }, ` as ${visible(message.login)}`))],
          ["Size", octets(message.size_octets)],
          ["Queue id", message.queue_id && h("span", {}, h("a", { class: "mono", href: format({ view: "trace", path: [message.queue_id] }) }, message.queue_id), " ", copyable(message.queue_id))],
        ]),
      ),
      (message.fault || message.is_cut) && h("p", { class: "note" }, message.fault ? `Its parts cannot be told: ${visible(message.fault)}` : "It is larger than what is kept or shown of it."),
      tabsOf(tabs, tab),
    );
  }

  async function drop() {
    try {
      await remove(at);
      toast("1 message deleted");
      gone();
    } catch (fault) {
      toast("It was not deleted", { kind: "trouble", detail: fault.message });
    }
  }

  function frameOf(message) {
    // What it may is nothing: no script, no form, no way out; its own Content-Security-Policy says the same once more.
    return [
      message.remote_count > 0 && h("details", { class: "note" }, h("summary", {}, `${counted(message.remote_count, "remote item")} not loaded: its owner would learn that this was read`),
        h("ul", {}, message.remote.map((one) => h("li", { class: "mono" }, told(one))))),
      h("iframe", { class: "html", sandbox: "", src: address(`${at}/html`), title: "The message as HTML", referrerpolicy: "no-referrer", loading: "lazy" }),
    ];
  }

  function attachmentsOf(list) {
    if (list.length === 0) return empty("No attachments");
    return h("ul", { class: "attachments" }, list.map((one) => h(
      "li", {}, icon("clip"), h("div", {}, h("b", {}, told(one.filename || "(no name)")), h("p", { class: "muted" }, `${visible(one.content_type)}${one.is_inline ? ", shown within the HTML" : ""}`)),
      h("a", { class: "button small", href: address(`${at}/parts/${one.number}`), download: one.filename || `part-${one.number}` }, "Download"),
    )));
  }
}

function tabsOf(tabs, wanted) {
  const panel = h("div", { class: "tab-panel", role: "tabpanel", id: "tab-panel", tabindex: "0" });
  const buttons = tabs.map(([name, words, make]) => h("button", {
    type: "button", role: "tab", class: "tab", id: `tab-${name}`, "aria-controls": "tab-panel",
    on: { click: () => pick(name), keydown: (event) => moved(event) },
  }, words));
  pick((tabs.find(([name]) => name === wanted) ?? tabs[0])[0]);
  return [h("div", { role: "tablist", class: "tabs", "aria-label": "Ways to look at it" }, buttons), panel];

  function pick(name) {
    const at = tabs.findIndex(([one]) => one === name);
    buttons.forEach((one, index) => {
      one.setAttribute("aria-selected", String(index === at));
      one.tabIndex = index === at ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    fill(panel, tabs[at][2](panel) ?? []);
  }

  function moved(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const to = (buttons.indexOf(event.currentTarget) + step + buttons.length) % buttons.length;
    buttons[to].focus();
    pick(tabs[to][0]);
  }
}

/** Text that is fetched when it is looked at. */
function fetched(box, path) {
  const inner = h("div", {});
  new Region(inner).show((signal) => text(path, {}, signal), (words) => (words === "" ? empty("It has no text") : [
    h("pre", { class: "text" }, h("bdi", {}, visibleLines(words.slice(0, SHOWN_OCTETS)))),
    words.length > SHOWN_OCTETS && h("p", { class: "note" }, `${count(words.length - SHOWN_OCTETS)} more characters: download it to see them.`),
  ]));
  return inner;
}

function headersOf(headers) {
  const pairs = headers.map((one) => [one.name, one.value]);
  return h("div", { class: "scroll-x", role: "region", tabindex: "0", "aria-label": "Header fields" }, h("table", { class: "plain headers" },
    h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, "Field"), h("th", { scope: "col" }, "Value"))),
    h("tbody", {}, pairs.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, visible(name)), h("td", {}, told(value)))))));
}

function linksOf(links) {
  if (links.length === 0) return empty("No links");
  return h("ul", { class: "links" }, links.map((one) => {
    const { target } = one;
    // Shown, and not led to: a link of a stranger's is followed by nobody who only looks.
    return h("li", {}, one.text && h("p", {}, told(one.text)), h("p", { class: "mono" }, told(target), " ", copyable(target)),
      one.is_mismatch && h("p", { class: "warn" }, "Its words name another place than it leads to"));
  }));
}
