/* ML Odyssey: whatever scrolls inside the page can be reached, and scrolled, with the keyboard; the map of the chapters shows
   what leads to the one that is pointed at; and paper is white. */
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

  const trace = (map) => {
    const light = (chapter) => {
      const way = chapter ? new Set([...chapter.dataset.needs.split(" "), chapter.dataset.page]) : new Set();
      for (const box of map.querySelectorAll("a")) box.classList.toggle("odyssey-lit", way.has(box.dataset.page));
      for (const arrow of map.querySelectorAll(".odyssey-arrow")) {
        arrow.classList.toggle("odyssey-lit", way.has(arrow.dataset.from) && way.has(arrow.dataset.to));
      }
    };
    for (const kind of ["focusin", "pointerover"]) map.addEventListener(kind, (event) => light(event.target.closest("a")));
    for (const kind of ["focusout", "pointerleave"]) map.addEventListener(kind, () => light(null));
  };

  // What is dark on the screen is light on paper. (sphinx-togglebutton opens the folded solutions.)
  const paper = (printing) => {
    const { dataset } = document.documentElement;
    if (printing && dataset.theme === "dark") {
      dataset.theme = "light";
      dataset.night = "";
    } else if (!printing && "night" in dataset) {
      dataset.theme = "dark";
      delete dataset.night;
    }
  };

  const start = () => {
    reach();
    document.querySelectorAll(".odyssey-map").forEach(trace);
    addEventListener("beforeprint", () => paper(true));
    addEventListener("afterprint", () => paper(false));
    new ResizeObserver(reach).observe(document.documentElement);
    window.MathJax?.startup?.promise?.then(reach);
  };
  window.addEventListener("load", start);
})();
