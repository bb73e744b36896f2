// The switch between light, dark, and what the system says. Loaded before the page is drawn, so
// that it is never drawn in the wrong colours.
"use strict";
(() => {
  const THEMES = ["system", "light", "dark"];
  const read = () => {
    try {
      return localStorage.getItem("framebus-theme");
    } catch { return null; /* The browser keeps nothing for this page. */ }
  };
  const keep = theme => {
    try {
      localStorage.setItem("framebus-theme", theme);
    } catch { /* It is forgotten with the page. */ }
  };
  let theme = THEMES.includes(read()) ? read() : "system";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    button.querySelector("use").setAttribute("href", `#i-${theme}`);
    button.setAttribute("aria-label", `Colours: ${theme}`);
    button.title = `Colours: ${theme}`;
  };
  show();
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      keep(theme);
      show();
    });
  });
})();
