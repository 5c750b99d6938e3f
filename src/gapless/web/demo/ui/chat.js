/** A list of messages that stays where its reader is, whatever comes before or after. */
import { Component, createRef, html } from "../lib.js";

const NEAR_PX = 500;
const AT_END_PX = 24;

/**
 * @typedef {{label: string, children?: any, onOlder?: () => void, onNewer?: () => void,
 *   onLook?: (isAtEnd: boolean) => void, newest?: number}} Props `newest` changes when the reader is to be at the end
 * @typedef {{isAtEnd: boolean, key: string, topPx: number}} Anchor
 */

/** Rows are elements with `data-key`. @extends {Component<Props>} */
export class Chat extends Component {
  list = createRef();
  isAtEnd = true;

  /** @returns {HTMLElement} */
  get element() {
    return this.list.current;
  }

  componentDidMount() {
    this.toEnd();
    this.sizes = new ResizeObserver(() => this.isAtEnd && this.toEnd());
    this.sizes.observe(this.element);
  }

  componentWillUnmount() {
    this.sizes?.disconnect();
  }

  /** @param {Props} before @returns {Anchor} */
  getSnapshotBeforeUpdate(before) {
    const mustEnd = before.newest !== this.props.newest;
    const row = this.firstVisible();
    return {
      isAtEnd: this.isAtEnd || mustEnd,
      key: row?.dataset.key ?? "",
      topPx: row?.getBoundingClientRect().top ?? 0,
    };
  }

  /** @param {Props} _before @param {any} _state @param {Anchor} anchor */
  componentDidUpdate(_before, _state, anchor) {
    if (anchor.isAtEnd) {
      this.toEnd();
      return;
    }
    const row = anchor.key && this.element.querySelector(`[data-key="${CSS.escape(anchor.key)}"]`);
    if (row) this.element.scrollTop += row.getBoundingClientRect().top - anchor.topPx;
    this.look();
  }

  /** @returns {HTMLElement | undefined} */
  firstVisible() {
    const topPx = this.element.getBoundingClientRect().top;
    /** @type {NodeListOf<HTMLElement>} */
    const rows = this.element.querySelectorAll("[data-key]");
    return [...rows].find((row) => row.getBoundingClientRect().bottom > topPx);
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
    this.isAtEnd = true;
  }

  look = () => {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const restPx = scrollHeight - clientHeight - scrollTop;
    this.isAtEnd = restPx < AT_END_PX;
    if (scrollTop < NEAR_PX) this.props.onOlder?.();
    if (restPx < NEAR_PX) this.props.onNewer?.();
    this.props.onLook?.(this.isAtEnd);
  };

  render() {
    const { label, children } = this.props;
    return html`
      <div class="chat" ref=${this.list} onScroll=${this.look} tabindex="0" role="log" aria-label=${label} aria-live="off">
        ${children}
      </div>
    `;
  }
}
