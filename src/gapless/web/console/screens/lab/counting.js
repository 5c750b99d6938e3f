/** Counting what arrives of 1, 2, 3 …: what is missing, what came twice, what came out of order. */

const HOLES_MAX = 10_000;

/** Numbers as they arrive. What was jumped over is remembered until it comes. */
export class Counting {
  last = 0;
  received = 0;
  duplicates = 0;
  disordered = 0;
  /** @type {Set<number>} */
  holes = new Set();

  /** @param {number} number */
  take(number) {
    if (number > this.last) {
      for (let hole = this.last + 1; hole < number && this.holes.size < HOLES_MAX; hole++) this.holes.add(hole);
      this.last = number;
      this.received++;
    } else if (this.holes.delete(number)) {
      this.disordered++;
      this.received++;
    } else {
      this.duplicates++;
    }
  }

  /** How many of the numbers up to `acked` are not here. @param {number} acked */
  missing(acked) {
    const holes = [...this.holes].filter((hole) => hole <= acked).length;
    return holes + Math.max(0, acked - this.last);
  }
}
