/** Lines of this page's own source, cut out of the file that the browser runs. */
import { html, useEffect, useSignal } from "../lib.js";

/** @type {Map<string, Promise<string>>} */
const sources = new Map();

/** @param {string} file */
function source(file) {
  const known = sources.get(file) ?? fetch(new URL(`../${file}`, import.meta.url)).then((answer) => answer.text());
  sources.set(file, known);
  return known;
}

/**
 * Return the lines between `// how: <part>` and `// end`, moved to the left margin.
 * @param {string} text
 * @param {string} part
 */
export function cutOut(text, part) {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.trim() === `// how: ${part}`) + 1;
  const length = lines.slice(start).findIndex((line) => line.trim() === "// end");
  const found = start ? lines.slice(start, start + length) : [];
  const margin = Math.min(...found.filter((line) => line.trim()).map((line) => line.search(/\S/)));
  return found.filter((line) => !/^\s*(\/\*\*|\*) ?.*@|^\s*\/\*\*$|^\s*\*\/$/.test(line)).map((line) => line.slice(margin)).join("\n");
}

const TOKENS =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>"[^"\n]*"|`[^`]*`)|(?<word>\b(?:async|await|break|catch|class|const|constructor|else|export|extends|finally|for|function|if|import|let|new|of|return|super|this|throw|try)\b)/g;

/** @param {string} text */
function coloured(text) {
  /** @type {any[]} */
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKENS)) {
    const kind = Object.entries(found.groups ?? {}).find(([, value]) => value)?.[0];
    parts.push(text.slice(end, found.index), html`<span class=${kind}>${found[0]}</span>`);
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}

/** @param {{file: string, part: string}} props */
export function Code({ file, part }) {
  const text = useSignal("");
  useEffect(() => {
    source(file).then((found) => (text.value = cutOut(found, part)));
  }, [file, part]);
  return html`
    <figure class="code">
      <figcaption class="muted small">${file}</figcaption>
      <pre tabindex="0" role="group" aria-label="Code"><code>${coloured(text.value)}</code></pre>
    </figure>
  `;
}
