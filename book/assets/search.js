/* ML Odyssey: what the search page shows of a page that it found. Sphinx would show the characters around the first hit,
   with the TeX of formulas, code and tables of contents among them. This shows the page's own description where that has
   all the words, and else the sentence that has most of them. */
(() => {
  "use strict";
  const SKIP = ".cell, .highlight, .headerlink, .admonition-title, table, figure, nav, script, style, #jb-print-docs-body";
  const LENGTH = 220;
  const SIGNS = {
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", varepsilon: "ε", epsilon: "ε", eta: "η", theta: "θ", kappa: "κ",
    lambda: "λ", mu: "μ", nu: "ν", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", omega: "ω", nabla: "∇", partial: "∂",
    times: "×", cdot: "·", le: "≤", ge: "≥", approx: "≈", pm: "±", infty: "∞", sqrt: "√", to: "→", "%": "%",
  };

  // A short formula in letters; a longer one is left out.
  const readable = (tex) => {
    const text = tex.replace(/^\\\(|\\\)$/g, "").replace(/\\(?:mathbf|mathrm|text|tfrac|frac|hat|bar)\b/g, (all) =>
      all.endsWith("frac") ? all : "");
    const plain = text.replace(/\\([a-z]+|%)\s*/gi, (all, name) => SIGNS[name] ?? all).replace(/\\[,;! ]/g, "")
      .replace(/[{}]/g, "");
    return plain.includes("\\") || plain.length > 24 ? "…" : plain;
  };

  const words = (block) => {
    const copy = block.cloneNode(true);
    copy.querySelectorAll(`${SKIP}, ul, ol, dl, div.math`).forEach((part) => part.remove());
    copy.querySelectorAll(".math").forEach((formula) => { formula.textContent = readable(formula.textContent); });
    return copy.textContent.replace(/\s+/g, " ").trim();
  };

  const around = (text, keywords) => {
    const low = text.toLowerCase();
    const first = Math.min(...keywords.map((word) => low.indexOf(word)).filter((place) => place >= 0));
    let start = Math.max(0, first - LENGTH / 3);
    if (start > 0) start = text.indexOf(" ", start) + 1;
    let end = Math.min(text.length, start + LENGTH);
    if (end < text.length) end = text.lastIndexOf(" ", end);
    return `${start > 0 ? "… " : ""}${text.slice(start, end)}${end < text.length ? " …" : ""}`;
  };

  const excerpt = (html, keywords, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const about = page.querySelector("meta[name='description']")?.content ?? "";
    const main = page.querySelector("article.bd-article") ?? page.querySelector("[role='main']");
    const part = (anchor && main?.querySelector(anchor)) || null;
    const found = (text) => keywords.filter((word) => text.toLowerCase().includes(word)).length;
    if (!part && found(about) === keywords.length) return about;
    const blocks = [...(part ?? main)?.querySelectorAll("p, li, dd") ?? []].filter((block) => !block.closest(SKIP));
    let best = "";
    const telling = (text) => text.length >= 40 && !text.startsWith("You need ");
    for (const text of blocks.map(words).filter(telling)) if (found(text) > found(best)) best = text;
    return best ? around(best, keywords) : about;
  };

  Search.makeSearchSummary = (html, keywords, anchor) => {
    const text = excerpt(html, [...keywords].map((word) => word.toLowerCase()), anchor);
    if (!text) return null;
    const summary = document.createElement("p");
    summary.classList.add("context");
    summary.textContent = text;
    return summary;
  };
})();
