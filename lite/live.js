/* ML Odyssey, live: the page's own cells become editable and run in place, in a Python that runs in the browser.

   `make lite` puts this file into the built site, with SETTINGS in front of it: where Pyodide and its lock file are, and
   which files each chapter opens. Nothing is loaded before the reader asks for it. */
(() => {
  "use strict";
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  const place = location.pathname.slice(new URL(root).pathname.length).replace(/\.html$/, "");
  const files = SETTINGS.files[place];
  const article = document.querySelector("article.bd-article");
  if (!files || !article || !location.protocol.startsWith("http")) return; // not a chapter, or opened from a folder

  const at = (path) => new URL(path, root).href;
  const make = (tag, attributes, text) => {
    const element = Object.assign(document.createElement(tag), attributes);
    if (text) element.textContent = text;
    return element;
  };

  const dark = () => document.documentElement.dataset.theme === "dark";

  const bar = make("div", { className: "odyssey-live d-print-none" });
  const button = make("button", { type: "button", className: "odyssey-live-start" }, "Live code");
  const lab = make("a", { href: at(`lite/notebooks/index.html?path=${place}.ipynb`) }, "Open in JupyterLite");
  const status = make("p", { className: "odyssey-live-status" },
    "Both run Python in your browser. Nothing is installed, nothing leaves your machine.");
  status.setAttribute("role", "status");
  bar.append(button, lab, status);
  const title = article.querySelector("h1");
  title.after(bar);

  const load = (source) => new Promise((done, failed) => {
    document.head.append(make("script", { src: at(source), onload: done, onerror: () => failed(new Error(source)) }));
  });

  // thebe pairs the first cell with the first output, and so on, so every cell gets one.
  const mark = () => {
    for (const cell of article.querySelectorAll("div.cell")) {
      const code = cell.querySelector(".cell_input pre");
      if (!code) continue;
      cell.querySelectorAll("button.copybtn").forEach((copy) => copy.remove());
      code.dataset.executable = "true";
      code.dataset.language = "python";
      let output = cell.querySelector(".cell_output");
      if (!output) {
        output = make("div", { className: "cell_output docutils container" });
        cell.append(output);
      }
      output.dataset.output = "true";
    }
  };

  // What an editor must have for everybody: a name, and a Tab key that leads out of it.
  const dress = () => {
    document.querySelectorAll(".thebe-cell").forEach((cell, index) => {
      const editor = cell.querySelector(".CodeMirror")?.CodeMirror;
      if (!editor) return;
      editor.getInputField().setAttribute("aria-label", `Code of cell ${index + 1}; Shift+Enter runs it`);
      editor.setOption("extraKeys", { ...editor.getOption("extraKeys"), Tab: false, "Shift-Tab": false });
      editor.refresh();
    });
  };

  // A chapter opens files beside itself; the same paths must be there in the browser's file system.
  const fetching = () => `
import os as _os
from pathlib import Path as _Path
from pyodide.http import pyfetch as _pyfetch
for _name in ${JSON.stringify(files)}:
    _path = _Path("/home/pyodide/site") / _name
    _path.parent.mkdir(parents=True, exist_ok=True)
    _path.write_bytes(await (await _pyfetch("${at("lite/files/")}" + _name)).bytes())
_folder = _Path("/home/pyodide/site/${place}").parent
_folder.mkdir(parents=True, exist_ok=True)
_os.chdir(_folder)
del _os, _Path, _pyfetch, _name, _path, _folder
`;

  const start = async () => {
    button.disabled = true;
    const say = (text) => { status.textContent = text; };
    try {
      say("Starting Python in your browser. The first time this fetches about 30 MB.");
      document.head.append(make("link", { rel: "stylesheet", href: at("lite/thebe/thebe.css") }));
      await load("lite/thebe/thebe-lite.min.js");
      const serve = window.thebeLite.startJupyterLiteServer;
      const kernel = {
        pyodideUrl: new URL(SETTINGS.pyodide, root).href,
        loadPyodideOptions: { lockFileURL: at("lite/static/pyodide/pyodide-lock.json") },
        pipliteUrls: [at("lite/thebe/pypi/all.json")],
        pipliteWheelUrl: at(`lite/thebe/pypi/${SETTINGS.piplite}`),
        disablePyPIFallback: true,
      };
      window.thebeLite.startJupyterLiteServer = () => serve({
        litePluginSettings: { "@jupyterlite/pyodide-kernel-extension:kernel": kernel },
      });
      await load("lite/thebe/index.js");
      mark();
      const { session, notebook } = await window.thebe.bootstrap({
        useBinder: false, useJupyterLite: true, requestKernel: true, mathjaxUrl: "",
        mountStatusWidget: false, mountActivateWidget: false,
        mountRestartButton: false, mountRestartAllButton: false,
        kernelOptions: { kernelName: "python" }, codeMirrorConfig: { lineNumbers: false, theme: dark() ? "darcula" : "default" },
      });
      dress();
      say("Python has started; fetching the chapter's files.");
      const reply = await session.kernel.requestExecute({ code: fetching(), silent: true, store_history: false }).done;
      if (reply.content.status !== "ok") throw new Error(reply.content.evalue);
      window.odysseyLive = { session, notebook };
      document.documentElement.dataset.live = "ready";
      say("Ready. Change a cell and press “run”, or “run all”: a cell needs those above it. Reload the page to get the text back.");
    } catch (error) {
      document.documentElement.dataset.live = "failed";
      say(`Python could not be started: ${error?.message || error}. Reload the page to read on as before.`);
      throw error;
    }
  };
  button.addEventListener("click", start);
})();
