// The page: who is signed in, the bar with its views, and which of them is shown.

import { fill, h } from "./dom.js";
import { Offline, get } from "./api.js";
import { showKeys } from "./dialogs.js";
import { healthView } from "./health.js";
import { icon } from "./icons.js";
import { inboxView } from "./inbox.js";
import { bindKeys } from "./keys.js";
import { nowView } from "./now.js";
import { refreshTimes } from "./parts.js";
import { queueView } from "./queue.js";
import { VIEWS, format, parse } from "./route.js";
import { enterRows } from "./rows.js";
import { may, resume, signIn, signOut, signedIn, takeToken } from "./session.js";
import { signInForm } from "./sign_in.js";
import { failed } from "./states.js";
import { switchTheme, theme } from "./theme.js";
import { clearToasts } from "./toasts.js";
import { traceView } from "./trace.js";

const TITLES = { now: "Now", queue: "Queue", trace: "Trace", inbox: "Inbox", health: "Health" };
const MAKE = { now: nowView, queue: queueView, trace: traceView, inbox: inboxView, health: healthView };
const THEME_WORDS = { system: "as the system has it", light: "light", dark: "dark" };
const AGAIN_MS = 4000;
const TIMES_MS = 5000;

const page = document.getElementById("page");
let shown = null; // {name, view}: what is on the page
let main = document.getElementById("main");
let unbind = () => {};
let knocking = 0;

start();
setInterval(refreshTimes, TIMES_MS);

async function start() {
  const token = takeToken();
  try {
    if (token === null) await resume();
    else await signIn(token);
  } catch (fault) {
    if (fault instanceof Offline) {
      fill(main, failed(fault, start));
      knocking = setTimeout(start, AGAIN_MS);
      return;
    }
    askWho(token === null ? "" : "That token is not known here; it may have been replaced.");
    return;
  }
  clearTimeout(knocking);
  build();
}

/** The form for a token, in place of the page. */
function askWho(words = "") {
  leave();
  main = h("main", { id: "main", class: "sign-in" });
  fill(page, main);
  document.title = "Sign in – mailgw";
  signInForm(main, words, build);
}

function build() {
  if (!may("read")) {
    const scopes = signedIn().scopes.join(" and ");
    signOut().catch(() => {}); // the cookie ends by itself
    askWho(`This token may ${scopes}; it may not look. The page takes one with the scope “read”.`);
    return;
  }
  main = h("main", { id: "main", tabindex: "-1" });
  fill(page, skip(), bar(), h("div", { id: "banner", role: "alert" }), main);
  unbind = bindKeys(
    Object.fromEntries(VIEWS.map((name) => [name[0], () => { location.hash = format({ view: name }); }])),
    {
      "/": () => shown?.view.search?.() ?? false,
      "?": () => { showKeys(); },
      j: enterRows, k: enterRows,
      p: () => shown?.view.pause?.() ?? false,
      Escape: () => escape(),
    },
  );
  window.addEventListener("hashchange", follow);
  follow();
  get("config").then(paintStaging, () => {});
}

/** Who waits for mail of a gateway that lets none out is to see it in every view. */
function paintStaging({ staging, written }) {
  const badge = document.getElementById("staging");
  if (!badge) return;
  const out = written.staging?.let_out ?? [];
  const words = out.length ? `staging: nothing leaves but by ${out.join(", ")}` : "staging: nothing leaves";
  badge.hidden = !staging;
  badge.textContent = staging ? words : "";
  badge.title = staging ? `${words}; all else is kept in the inbox` : "";
}

function leave() {
  window.removeEventListener("hashchange", follow);
  unbind();
  shown?.view.end();
  shown = null;
  clearToasts();
  document.querySelectorAll("dialog").forEach((one) => one.close());
}

/** Show what the address means. */
function follow() {
  const token = takeToken();
  if (token !== null) {
    leave();
    signIn(token).then(build, () => askWho("That token is not known here."));
    return;
  }
  const route = parse(location.hash);
  document.title = `${TITLES[route.view]} – mailgw`;
  for (const link of document.querySelectorAll(".views a")) {
    if (link.dataset.view === route.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown?.name === route.view) {
    shown.view.update(route);
    return;
  }
  const isFirst = shown === null;
  shown?.view.end();
  if (!isFirst) clearToasts();
  fill(main);
  main.className = `view-${route.view}`;
  shown = { name: route.view, view: MAKE[route.view](main, route, { setTitle }) };
  window.scrollTo(0, 0);
  if (!isFirst) main.focus({ preventScroll: true });
}

function setTitle(words) {
  document.title = `${words} – mailgw`;
}

function escape() {
  if (document.activeElement instanceof HTMLInputElement) {
    document.activeElement.blur();
    return true;
  }
  return shown?.view.escape?.() ?? false;
}

function skip() {
  return h("a", { class: "skip", href: "#main", on: { click: (event) => { event.preventDefault(); main.focus(); } } }, "Skip to the contents");
}

function bar() {
  const looks = h("button", { type: "button", class: "button quiet icon-only", on: { click: () => { switchTheme(); paintLooks(); } } });
  const paintLooks = () => {
    fill(looks, icon(theme()));
    looks.setAttribute("aria-label", `Theme: ${THEME_WORDS[theme()]}. Change`);
    looks.title = `Theme: ${THEME_WORDS[theme()]}`;
  };
  paintLooks();
  const who = signedIn();
  return h(
    "header", { class: "bar" },
    h("a", { class: "brand", href: format({ view: "now" }), "aria-label": "mailgw" }, h("img", { src: "icon.svg", alt: "", width: 22, height: 22 }), h("span", {}, "mailgw")),
    h(
      "nav", { class: "views", "aria-label": "Views" },
      VIEWS.map((name) => h("a", { href: format({ view: name }), "data-view": name, title: `${TITLES[name]} (g ${name[0]})` }, icon(name), h("span", {}, TITLES[name]))),
    ),
    h("span", { id: "staging", class: "chip warn", hidden: true }),
    h(
      "div", { class: "tools" },
      h("span", { class: "who", title: `Scopes: ${who.scopes.join(", ")}` }, who.name, !may("queue") && h("span", { class: "chip" }, "looks only")),
      looks,
      h("button", { type: "button", class: "button quiet icon-only only-wide", title: "Keys (?)", "aria-label": "Keys", on: { click: showKeys } }, icon("keys")),
      h("button", { type: "button", class: "button quiet icon-only", title: "Sign out", "aria-label": "Sign out", on: { click: out } }, icon("leave")),
    ),
  );
}

async function out() {
  try {
    await signOut();
  } catch {
    // The cookie ends by itself.
  }
  askWho("You are signed out.");
}

document.addEventListener("mailgw:signed-out", () => { if (shown) askWho("Your session has ended: sign in again."); });
document.addEventListener("mailgw:configured", (event) => paintStaging(event.detail));
document.addEventListener("mailgw:offline", () => {
  const banner = document.getElementById("banner");
  if (!banner || banner.firstChild) return;
  fill(banner, h("p", { class: "banner" }, "The gateway does not answer. This page tries again by itself."));
  const knock = () => { clearTimeout(knocking); knocking = setTimeout(() => resume().catch((fault) => fault instanceof Offline && knock()), AGAIN_MS); };
  knock();
});
document.addEventListener("mailgw:online", () => {
  const banner = document.getElementById("banner");
  if (banner?.firstChild) {
    fill(banner);
    clearTimeout(knocking);
    shown?.view.again?.();
  }
});
