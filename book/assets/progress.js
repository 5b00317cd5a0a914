/* ML Odyssey: a reader's own progress. Ticks are kept in the browser's local storage, and nowhere else.

   A key is the label of an exercise, "ex-tape-adjoints", or the page of a chapter, "book/autograd/tape". The progress
   page is a plain list of links until this script gives each a box; chapters get the same boxes. */
(() => {
  "use strict";
  const KEY = "ml-odyssey-progress";
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  const article = document.querySelector("article.bd-article");
  if (!article) return;

  const make = (tag, attributes, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };
  const pageOf = (url) => new URL(url).pathname.slice(root.pathname.length).replace(/\.html$/, "");

  // ---- what is kept
  let memory = new Set(); // what counts where a browser keeps nothing for us
  const known = (text) => {
    const saved = JSON.parse(text);
    if (saved?.format !== KEY || !Array.isArray(saved.done)) throw new TypeError("another kind of file");
    return new Set(saved.done.filter((key) => typeof key === "string"));
  };
  const written = (done) => JSON.stringify({ format: KEY, done: [...done].sort() }, null, 1);
  const read = () => {
    try {
      const text = localStorage.getItem(KEY);
      return text ? known(text) : new Set(memory);
    } catch {
      return new Set(memory);
    }
  };
  const keep = (done) => {
    memory = done;
    try {
      localStorage.setItem(KEY, written(done));
    } catch {
      say("This browser keeps nothing for this page, so the ticks are gone when you close it. Save them to a file.");
    }
    show();
  };
  const tick = (key, on) => {
    const done = read();
    if (done.has(key) === on) return;
    if (on) done.add(key);
    else done.delete(key);
    keep(done);
  };

  // ---- boxes
  const box = (key) => {
    const input = make("input", { type: "checkbox", className: "odyssey-tick" });
    input.dataset.key = key;
    input.addEventListener("change", () => tick(key, input.checked));
    return input;
  };
  const hidden = (text) => make("span", { className: "visually-hidden" }, text);

  const bars = [];
  const show = () => {
    const done = read();
    for (const input of article.querySelectorAll("input.odyssey-tick")) input.checked = done.has(input.dataset.key);
    for (const { keys, bar, count } of bars) {
      const exercises = keys.filter((key) => key.startsWith("ex-"));
      const chapters = keys.filter((key) => !key.startsWith("ex-"));
      const solved = exercises.filter((key) => done.has(key)).length;
      const seen = chapters.filter((key) => done.has(key)).length;
      bar.value = solved + seen;
      count.textContent =
        `${solved} of ${exercises.length} exercises solved, ${seen} of ${chapters.length} chapters read`;
    }
  };

  let status = null;
  const say = (text) => { if (status) status.textContent = text; };

  // ---- the progress page
  const lists = [...article.querySelectorAll("ul.odyssey-checklist")];
  const keyOf = (link) => new URL(link.href).hash.slice(1) || pageOf(link.href);

  const measure = (name, keys) => {
    const bar = make("progress", { max: keys.length, value: 0 });
    const count = make("span", {});
    const label = make("label", { className: "odyssey-bar" }, make("span", {}, hidden(`${name}: `), count), bar);
    bars.push({ keys, bar, count });
    return label;
  };

  const save = () => {
    const file = URL.createObjectURL(new Blob([written(read())], { type: "application/json" }));
    make("a", { href: file, download: `${KEY}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(file), 1000);
    say(`Saved ${read().size} ticks as ${KEY}.json.`);
  };

  const dress = (panel) => {
    const all = [];
    for (const list of lists) {
      const keys = [];
      for (const link of list.querySelectorAll("a")) {
        const key = keyOf(link);
        const input = box(key);
        input.setAttribute("aria-label", `${key.startsWith("ex-") ? "Solved" : "Read"}: ${link.textContent}`);
        link.parentElement.prepend(input);
        keys.push(key);
      }
      list.before(measure(list.closest("section").querySelector("h2").firstChild.textContent, keys));
      all.push(...keys);
    }
    const button = (text, action) => {
      const made = make("button", { type: "button", className: "odyssey-button" }, text);
      made.addEventListener("click", action);
      return made;
    };
    const file = make("input", { type: "file", accept: ".json,application/json", hidden: true });
    file.addEventListener("change", async () => {
      try {
        const given = [...known(await file.files[0].text())].filter((key) => all.includes(key));
        keep(new Set([...read(), ...given]));
        say(`Loaded ${given.length} ticks, and kept those that were here.`);
      } catch {
        say("That file holds no progress of this book. It should be one that this page saved.");
      }
      file.value = "";
    });
    status = make("p", { className: "odyssey-status" });
    status.setAttribute("role", "status");
    panel.replaceChildren(
      measure("The whole book", all),
      make("p", { className: "odyssey-buttons" },
        button("Save to a file", save),
        button("Load from a file", () => file.click()),
        button("Clear all", () => {
          if (!confirm("Clear all ticks in this browser? There is no way back, except a file that you saved.")) return;
          keep(new Set());
          say("All ticks are cleared.");
        })),
      file, status);
  };

  // ---- a chapter
  const exercises = [...article.querySelectorAll("div.exercise[id]")];

  const chapter = () => {
    for (const exercise of exercises) {
      const input = box(exercise.id);
      input.setAttribute("aria-label", `Done: ${exercise.querySelector(".admonition-title").textContent.trim()}`);
      exercise.append(make("label", { className: "odyssey-done" }, input, "Done"));
    }
    article.append(make("p", { className: "odyssey-read" },
      make("label", { className: "odyssey-done" }, box(pageOf(location.href)), "I have read this chapter"),
      make("a", { href: new URL("book/progress.html", root).href }, "Your progress")));
    // In live code, a check that passes says "Correct: …" under the reader's own cell; a solution's cell does not count.
    const watch = () => {
      if (document.documentElement.dataset.live !== "ready") return;
      for (const output of article.querySelectorAll("[data-output]")) {
        if (output.closest("div.solution") || !/^Correct: /m.test(output.textContent)) continue;
        const before = (exercise) => exercise.compareDocumentPosition(output) & Node.DOCUMENT_POSITION_FOLLOWING;
        const own = exercises.filter(before).at(-1);
        if (own) tick(own.id, true);
      }
    };
    new MutationObserver(watch).observe(article, { childList: true, characterData: true, subtree: true });
  };

  const panel = article.querySelector(".odyssey-progress");
  if (panel) dress(panel);
  else if (exercises.length) chapter();
  show();
  addEventListener("storage", show);
  addEventListener("pageshow", show);
})();
