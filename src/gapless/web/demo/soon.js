/** What comes together is shown together: rendering each message of a burst would stop the page for seconds. */

const FRAME_MS = 16; // a timer, as a tab that nobody looks at paints no frames

/**
 * Return what has `act` called once, soon, however often it is asked for until then.
 * @param {() => void} act
 */
export function soon(act) {
  let isDue = false;
  const due = () => {
    isDue = false;
    act();
  };
  return () => {
    if (!isDue) setTimeout(due, FRAME_MS);
    isDue = true;
  };
}
