/**
 * What comes before all else, as a classic script in the head: light or dark, as was chosen here, else as the system
 * says, so that nothing is painted in the wrong colours first; and a word where a script of the page does not come.
 */
(() => {
  const KEY = "gapless.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** @returns {string} */
  const chosen = () => {
    try {
      return localStorage.getItem(KEY) ?? "";
    } catch {
      return ""; // storage is forbidden
    }
  };

  const show = () => {
    document.documentElement.dataset.theme = chosen() || (dark.matches ? "dark" : "light");
    dispatchEvent(new Event("gapless:theme"));
  };

  dark.addEventListener("change", show);
  addEventListener("storage", show); // chosen in another tab
  addEventListener("gapless:choose-theme", () => {
    const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, other);
    } catch {
      return;
    }
    show();
  });
  show();

  const failed = (/** @type {Event} */ { target }) => {
    const place = document.getElementById("app");
    if (target instanceof HTMLScriptElement && place) place.textContent = "A part of this page did not come. Is the server there? Then load it again.";
  };
  addEventListener("error", failed, true); // it does not bubble
})();
