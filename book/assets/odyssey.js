/* ML Odyssey: whatever scrolls inside the page can be reached, and scrolled, with the keyboard. */
(() => {
  "use strict";
  const BOXES = "div.math, mjx-container[display='true'], .cell_output, .highlight pre, table, .pst-scrollable-table-container";

  const reach = () => {
    for (const box of document.querySelectorAll(`.bd-article :is(${BOXES})`)) {
      const scrolls = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible";
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.setAttribute("tabindex", "0");
        box.dataset.reached = "";
      } else if (!scrolls && "reached" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.reached;
      }
    }
  };

  const start = () => {
    reach();
    new ResizeObserver(reach).observe(document.documentElement);
    window.MathJax?.startup?.promise?.then(reach);
  };
  window.addEventListener("load", start);
})();
