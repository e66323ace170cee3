// Light, dark, or as the system has it; remembered in this browser.

const KEY = "mailgw-theme";
const NEXT = { system: "light", light: "dark", dark: "system" };

export function theme() {
  try {
    return localStorage.getItem(KEY) ?? "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

/** The next of the three; its name. */
export function switchTheme() {
  const next = NEXT[theme()] ?? "system";
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // Then it lasts as long as the page.
  }
  if (next === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", next);
  return next;
}
