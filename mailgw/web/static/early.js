// Before the first paint, so that a remembered theme does not flash: no module, since those wait.
try {
  const theme = localStorage.getItem("mailgw-theme");
  if (theme === "light" || theme === "dark") document.documentElement.setAttribute("data-theme", theme);
} catch {
  // Storage may be forbidden.
}
