// A configuration as TOML, for reading: what is nested has tables of its own.  Pure.

const BARE = /^[A-Za-z0-9_-]+$/;

/** The text of a document; lists of tables are [[name]], an empty table is shown, too. */
export function tomlOf(document) {
  return tableOf(document, []).replace(/\n{3,}/g, "\n\n").trim();
}

function tableOf(table, path) {
  const entries = Object.entries(table);
  const plain = entries.filter(([, value]) => !isTable(value) && !isTables(value));
  let text = plain.map(([name, value]) => `${keyOf(name)} = ${valueOf(value)}\n`).join("");
  for (const [name, value] of entries) {
    const inner = [...path, name];
    const words = inner.map(keyOf).join(".");
    if (isTables(value)) {
      for (const one of value) text += `\n[[${words}]]\n${tableOf(one, inner)}`;
    } else if (isTable(value)) {
      const contents = tableOf(value, inner);
      // A table of tables alone needs no head of its own.
      const hasOwn = Object.keys(value).length === 0 || Object.values(value).some((one) => !isTable(one) && !isTables(one));
      text += hasOwn ? `\n[${words}]\n${contents}` : contents;
    }
  }
  return text;
}

function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTables(value) {
  return Array.isArray(value) && value.length > 0 && value.every(isTable);
}

function keyOf(name) {
  return BARE.test(name) ? name : JSON.stringify(name);
}

function valueOf(value) {
  if (Array.isArray(value)) return `[${value.map(valueOf).join(", ")}]`;
  if (isTable(value)) return `{ ${Object.entries(value).map(([name, one]) => `${keyOf(name)} = ${valueOf(one)}`).join(", ")} }`;
  return JSON.stringify(value);
}
