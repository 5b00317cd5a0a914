/* ML Odyssey: whatever scrolls inside the page can be reached, and scrolled, with the keyboard; the map of the chapters shows
   what leads to the one that is pointed at; paper shows what the screen folds away. */
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

  // What is folded on the screen is open on paper, and what is dark is light.
  const paper = (printing) => {
    const { dataset } = document.documentElement;
    if (printing && dataset.theme === "dark") {
      dataset.theme = "light";
      dataset.night = "";
    } else if (!printing && "night" in dataset) {
      dataset.theme = "dark";
      delete dataset.night;
    }
    for (const fold of document.querySelectorAll(".bd-article details")) {
      if (printing && !fold.open) fold.dataset.folded = "";
      if (printing || "folded" in fold.dataset) fold.open = printing;
      if (!printing) delete fold.dataset.folded;
    }
  };

  const start = () => {
    reach();
    document.querySelectorAll(".odyssey-map").forEach(trace);
    matchMedia("print").addEventListener("change", (event) => paper(event.matches));
    new ResizeObserver(reach).observe(document.documentElement);
    window.MathJax?.startup?.promise?.then(reach);
  };
  window.addEventListener("load", start);
})();
