/**
 * Light or dark: what was chosen here, else what the system says. A classic script in the head, so that nothing
 * is painted in the wrong colours first.
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
})();
