// A page's scripts in Node: what the page shows is printed; `press <label>` and `type <text>` come on standard input.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import vm from "node:vm";
import WebSocket from "ws";

const [file, url] = process.argv.slice(2);
const html = readFileSync(file, "utf8");
const origin = new URL(url).origin;

class Element {
  value = "";
  textContent = "";
  listeners = {};
  addEventListener = (name, listener) => (this.listeners[name] = listener);
  fire = (name) => this.listeners[name]({ preventDefault: () => {} });
  append = (child) => console.log(child.textContent);
  prepend = this.append;
}

const elements = {};
for (const [, id, label] of html.matchAll(/<\w+[^>]*\bid="(\w+)"[^>]*>([^<]*)/g)) {
  elements[id] = new Element();
  elements[id].textContent = label;
}

class BrowserSocket extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { origin });
  }
}

const browser = vm.createContext({
  document: { getElementById: (id) => elements[id], createElement: () => new Element() },
  WebSocket: BrowserSocket,
  fetch: (path, options = {}) => fetch(new URL(path, url), { ...options, headers: { ...options.headers, origin } }),
  crypto,
  console,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  TextEncoder,
  TextDecoder,
});
browser.globalThis = browser.window = browser;
for (const [, source] of html.matchAll(/<script src="([^"]+)">/g)) {
  vm.runInContext(readFileSync(source, "utf8"), browser, source);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [, what, text] = /^(\w+) (.*)$/.exec(line);
  if (what === "press") {
    Object.values(elements).find((element) => element.textContent === text).fire("click");
  } else {
    elements.text.value = text;
    elements.form.fire("submit");
  }
}
