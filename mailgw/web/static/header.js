// A message's header for the eye: fields unfolded, encoded words (RFC 2047) decoded.  Pure.
//
// Not done: RFC 2231's parameters, and charsets that the browser does not know, which stay as they came.

const FIELD = /^([!-9;-~]+)[ \t]*:(.*)$/s;
const WORD = /=\?([\w.:-]{1,40})(?:\*[\w-]*)?\?([bq])\?([^?\s]*)\?=/gi;
const BETWEEN = /(=\?[^?\s]+\?[bq]\?[^?\s]*\?=)[ \t\r\n]+(?==\?[^?\s]+\?[bq]\?)/gi;

/** Fields in order, as [name, value]; lines that are no field's are left out. */
export function fieldsOf(header) {
  const fields = [];
  for (const line of String(header ?? "").split(/\r?\n/)) {
    if (/^[ \t]/.test(line) && fields.length) fields.at(-1)[1] += ` ${line.trim()}`;
    else {
      const found = FIELD.exec(line);
      if (found) fields.push([found[1], found[2].trim()]);
    }
  }
  return fields;
}

/** The first field of a name, decoded; "" where there is none. */
export function fieldOf(header, name) {
  const found = fieldsOf(header).find(([one]) => one.toLowerCase() === name.toLowerCase());
  return found ? decoded(found[1]) : "";
}

/** Text with its encoded words decoded (RFC 2047); what cannot be decoded stays. */
export function decoded(value) {
  // s6.2: white space between two encoded words is not shown.
  return String(value).replace(BETWEEN, "$1").replace(WORD, (whole, charset, encoding, text) => {
    try {
      const octets = encoding.toLowerCase() === "b" ? base64(text) : quoted(text);
      return new TextDecoder(charset, { fatal: true }).decode(octets);
    } catch {
      return whole;
    }
  });
}

function base64(text) {
  return Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
}

function quoted(text) {
  const plain = text.replaceAll("_", " ").replace(/=([0-9a-f]{2})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
  return Uint8Array.from(plain, (one) => one.charCodeAt(0));
}
