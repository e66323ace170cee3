// A list of rows as a grid: one row is in the tab order, keys move along, Enter opens, x and Space select.
//
// It is a table with its roles spelled out, since the style makes cards of the rows on a narrow screen, and browsers
// forget the roles of tables that are laid out in another way.

import { h } from "./dom.js";

/** `columns`: [{title, cell(item), kind}] where `kind` is a class (num, wide, faint, lead); `key(item)` names a row;
 * `href(item)`: where Enter and a press lead; `open(item)` in place of it; `selection`: a Set of keys, where rows may
 * be selected, `chosen()` is called when it changes. */
export function rowsOf({ label, columns, items, key, href, open, selection, chosen, rowClass, current }) {
  const body = h("tbody", { role: "rowgroup" });
  const rows = items.map((item) => row(item));
  const all = selection && h("input", {
    type: "checkbox", "aria-label": "Select all rows shown", tabindex: "0",
    on: { change: (event) => { for (const one of rows) select(one, event.target.checked); tell(); } },
  });
  body.append(...rows);
  const made = h(
    "table", { class: `rows ${selection ? "picks" : ""}`, role: "grid", "aria-label": label, "aria-multiselectable": selection ? "true" : null },
    h("thead", { role: "rowgroup" }, h(
      "tr", { role: "row" },
      selection && h("th", { role: "columnheader", class: "pick" }, all),
      columns.map((column) => h("th", { role: "columnheader", class: column.kind, scope: "col" }, column.title)),
    )),
    body,
  );
  body.addEventListener("keydown", keyed);
  body.addEventListener("focusin", (event) => {
    const at = event.target.closest("tr");
    if (at) aim(at);
  });
  aim(rows.find((one) => one.getAttribute("aria-current") === "true") ?? rows[0]);
  if (all) tell(false);
  return made;

  function row(item) {
    const name = key(item);
    const isChosen = selection?.has(name) ?? false;
    const made = h(
      "tr",
      {
        role: "row", tabindex: "-1", class: rowClass?.(item), "data-key": name,
        "aria-selected": selection ? String(isChosen) : null, "aria-current": current === name ? "true" : null,
        on: { click: (event) => pressed(event, item) },
      },
      selection && h("td", { role: "gridcell", class: "pick" }, h("input", {
        type: "checkbox", tabindex: "-1", checked: isChosen, "aria-label": `Select ${name}`,
        on: { change: (event) => { select(made, event.target.checked); tell(); } },
      })),
      columns.map((column) => h("td", { role: "gridcell", class: column.kind, "data-title": column.title }, column.cell(item))),
    );
    made.item = item;
    return made;
  }

  function pressed(event, item) {
    if (event.target.closest("a, button, input, label, select") || String(getSelection()) !== "") return;
    opens(item);
  }

  function opens(item) {
    if (open) open(item);
    else if (href) location.hash = href(item);
  }

  function keyed(event) {
    const at = event.target.closest("tr");
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    const where = rows.indexOf(at);
    const isOnRow = event.target === at;
    const to = { j: where + 1, ArrowDown: where + 1, k: where - 1, ArrowUp: where - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      rows[Math.max(0, Math.min(rows.length - 1, to))].focus();
    } else if (event.key === "Enter" && isOnRow) {
      event.preventDefault();
      opens(at.item);
    } else if ((event.key === "x" || (event.key === " " && isOnRow)) && selection) {
      event.preventDefault();
      select(at, !selection.has(at.dataset.key));
      tell();
    }
  }

  function aim(at) {
    for (const one of rows) one.tabIndex = one === at ? 0 : -1;
  }

  function select(one, isChosen) {
    if (isChosen) selection.add(one.dataset.key);
    else selection.delete(one.dataset.key);
    one.setAttribute("aria-selected", String(isChosen));
    one.querySelector(".pick input").checked = isChosen;
  }

  function tell(isNew = true) {
    const here = rows.filter((one) => selection.has(one.dataset.key)).length;
    all.checked = rows.length > 0 && here === rows.length;
    all.indeterminate = here > 0 && here < rows.length;
    if (isNew) chosen?.();
  }
}

/** The first row, or the one that was last, gets the focus: j and k from anywhere on the page. */
export function enterRows() {
  const rows = document.querySelector("main table.rows tbody tr[tabindex='0']");
  rows?.focus();
  return Boolean(rows);
}
