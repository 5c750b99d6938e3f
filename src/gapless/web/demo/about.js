/** Where everything is, told by the server that serves this page; a path before it, as proxies add one, stays. */

/**
 * @typedef {{version: string, api: string, websocket: string, console: string | null, plain: string,
 *   kept: string}} About
 */

const page = new URL(".", document.baseURI);

/** @type {About} */
export const about = await (await fetch(new URL("about.json", page))).json();

/** @param {string} path as the server names it */
export const address = (path) => new URL(`..${path}`, page);

/** @returns {string} */
export function websocketUrl() {
  const url = address(about.websocket);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}
