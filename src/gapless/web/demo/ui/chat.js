/** A list of messages that stays where its reader is, whatever comes before or after. */
import { Component, createRef, html } from "../lib.js";

const NEAR_PX = 500;
const AT_END_PX = 24;

/**
 * `hasNewer` says that what is shown does not reach the end; `jumps` changes when the reader is to be there.
 * @typedef {{label: string, children?: any, onOlder?: () => void, onNewer?: () => void,
 *   onLook?: (isAtEnd: boolean) => void, hasNewer?: boolean, jumps?: number}} Props
 * @typedef {{isAtEnd: boolean, key: string, topPx: number}} Anchor
 */

/** Rows are elements with `data-key`. @extends {Component<Props>} */
export class Chat extends Component {
  list = createRef();
  isAtEnd = true;
  topPx = 0; // where the list was when last looked at: only its reader takes it further up

  /** @returns {HTMLElement} */
  get element() {
    return this.list.current;
  }

  componentDidMount() {
    this.toEnd();
    this.sizes = new ResizeObserver(() => void (this.isAtEnd && this.toEnd()));
    this.sizes.observe(this.element);
  }

  componentWillUnmount() {
    this.sizes?.disconnect();
  }

  /** @param {Props} before @returns {Anchor} */
  getSnapshotBeforeUpdate(before) {
    const mustEnd = before.jumps !== this.props.jumps;
    const row = this.firstVisible();
    return {
      isAtEnd: mustEnd || this.stays(),
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
    const rows = this.element.querySelectorAll("[data-key]:not(.past)"); // before that one everything comes
    return [...rows].find((row) => row.getBoundingClientRect().bottom > topPx);
  }

  /** How far it is to the end. */
  restPx() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    return scrollHeight - clientHeight - scrollTop;
  }

  /** Whether the reader was at the end and did not leave, however high the list is by now. */
  stays() {
    return this.isAtEnd && (this.element.scrollTop >= this.topPx - 1 || this.restPx() < AT_END_PX);
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
    this.topPx = this.element.scrollTop;
    this.isAtEnd = true;
  }

  look = () => {
    if (this.stays() && !this.props.hasNewer) this.toEnd();
    const restPx = this.restPx();
    this.isAtEnd = !this.props.hasNewer && restPx < AT_END_PX;
    this.topPx = this.element.scrollTop;
    if (this.element.scrollTop < NEAR_PX) this.props.onOlder?.();
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
