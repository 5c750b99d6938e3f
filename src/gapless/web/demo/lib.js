/** What every module of the demo builds with. */
import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export { Component, createRef, render } from "./vendor/preact.js";
export { useEffect, useRef } from "./vendor/hooks.js";
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from "./vendor/signals.js";

/** @typedef {import("./vendor/preact.js").VNode<any>} Node */
/**
 * @template T
 * @typedef {import("./vendor/signals.js").Signal<T>} Signal
 */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);
