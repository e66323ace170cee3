// Elements, made without markup: whatever is a text becomes a text node, so nothing out of a mail is ever parsed.
//
// Rules:
//   No innerHTML, outerHTML, insertAdjacentHTML, document.write, srcdoc, and no attribute that is code or style
//   (tests/browser/test_static.py looks through all files for these words).
//   Who needs a style sets a class; sizes that are computed go through the CSSOM or into SVG's own attributes.

const SVG = "http://www.w3.org/2000/svg";
const NEVER = /^(on|style$|srcdoc$|innerHTML$|outerHTML$)/i;
const SAFE_ADDRESS = /^(?:#|\.{0,2}\/|https?:\/\/|mailto:|[\w-]+(?:[/?#.]|$))/i;
const NO_SCHEME = /^(?:javascript|data|vbscript|file|blob):/i;

/** An element. `given`: attributes by their names; `on: {click: f}` for listeners; null, undefined and false leave one
 * out, true makes it empty. `children`: nodes, texts, numbers, or lists of these; null and false are left out. */
export function h(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** The same in SVG's namespace. */
export function s(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

/** The element's children are these, in place of what it had. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Whether an address may be a link's: it leads somewhere, and is no code. */
export function mayLead(address) {
  const clean = String(address).replace(/[\u0000-\u0020]/g, "");
  return SAFE_ADDRESS.test(clean) && !NO_SCHEME.test(clean);
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, hear] of Object.entries(value)) element.addEventListener(event, hear);
    } else if (NEVER.test(name)) {
      throw new TypeError(`no attribute ${name}`);
    } else if ((name === "href" || name === "src" || name === "action") && !mayLead(value)) {
      element.setAttribute("data-unsafe", name);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
}
