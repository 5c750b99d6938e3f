/** Where a text stops to be JSON, and what it lacks there: what browsers say of that differs, and often has no line. */

/** @typedef {"value" | "value or ]" | "name" | "name or }" | "colon" | "comma"} Lacks */

const SPACE = /[ \t\n\r]*/y;
const TOKEN = /[{}[\],:]|"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/y;

/** @type {Record<Lacks, string>} */
const WORDS = {
  value: "a value",
  "value or ]": "a value, or ]",
  name: "a name in double quotes",
  "name or }": "a name in double quotes, or }",
  colon: "a colon",
  comma: "a comma, or the end of what is open",
};

/**
 * Return in words where the first mistake of a text is that is no JSON.
 * @param {string} text
 */
export function mistake(text) {
  const { at, lacks } = first(text);
  const lines = text.slice(0, at).split("\n");
  return `line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1} needs ${lacks === "nothing" ? "to be the end" : WORDS[lacks]}`;
}

/**
 * @param {string} text
 * @returns {{at: number, lacks: Lacks | "nothing"}}
 */
function first(text) {
  /** @type {string[]} */
  const open = [];
  /** @type {Lacks} */
  let lacks = "value";
  for (let at = 0; ; ) {
    at = matched(SPACE, text, at)?.end ?? at;
    const token = matched(TOKEN, text, at);
    /** @type {Lacks | null} */
    const next = token && after(lacks, token.text, open);
    if (!token || !next) return { at, lacks: lacks === "comma" && !open.length ? "nothing" : lacks };
    lacks = next;
    at = token.end;
  }
}

/**
 * @param {RegExp} pattern
 * @param {string} text
 * @param {number} at
 */
function matched(pattern, text, at) {
  pattern.lastIndex = at;
  const found = pattern.exec(text)?.[0];
  return found === undefined ? null : { text: found, end: at + found.length };
}

/**
 * Return what is lacking after a token; nothing if it cannot stand there.
 * @param {Lacks} lacks
 * @param {string} token
 * @param {string[]} open what is open, as what closes it
 * @returns {Lacks | null}
 */
function after(lacks, token, open) {
  const closes = token === open.at(-1) && (lacks === "comma" || lacks.endsWith(token));
  if (closes) {
    open.pop();
    return "comma";
  }
  if (lacks === "comma") return token === "," && open.length ? (open.at(-1) === "}" ? "name" : "value") : null;
  if (lacks === "colon") return token === ":" ? "value" : null;
  if (lacks.startsWith("name")) return token[0] === '"' ? "colon" : null;
  return afterValue(token, open);
}

/**
 * @param {string} token
 * @param {string[]} open
 * @returns {Lacks | null}
 */
function afterValue(token, open) {
  if ("}],:".includes(token)) return null;
  if (token === "{") open.push("}");
  if (token === "[") open.push("]");
  return token === "{" ? "name or }" : token === "[" ? "value or ]" : "comma";
}
