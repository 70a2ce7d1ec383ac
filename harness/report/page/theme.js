// Runs before the page is drawn, so that it is never drawn in the wrong colours.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const kept = localStorage.getItem("gatebench-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // a browser may keep nothing for files
  }
})();
