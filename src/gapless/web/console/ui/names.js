/** Names in their order. */

/**
 * Return what a page that begins with `name` comes after: no name of letters, digits and `-_.` lies between them.
 * @param {string} name
 */
export function justBefore(name) {
  const last = name.charCodeAt(name.length - 1);
  return `${name.slice(0, -1)}${String.fromCharCode(last - 1)}~`;
}
