// Adds to a page that is already readable without it: charts, filters, and the attempts inside each problem.
// Every text of a model or a problem goes through textContent, never through innerHTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const el = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // -- charts
  const theme = () => {
    const quiet = css("--quiet"), line = css("--line"), font = css("--sans");
    return {
      background: null, font, padding: { left: 0, right: 6, top: 6, bottom: 0 },
      view: { stroke: null },
      axis: { domain: false, ticks: false, grid: true, gridColor: line, labelColor: quiet, labelFontSize: 11,
        titleColor: quiet, titleFontSize: 11, titleFontWeight: "normal", labelPadding: 6, titlePadding: 8 },
      axisX: { grid: false }, line: { strokeWidth: 2, strokeCap: "round", strokeJoin: "round" },
      range: { category: Array.from({ length: data.colours ?? data.exams.length }, (_, i) => css("--c" + i % 6)) },
    };
  };
  const views = new Map();
  const draw = () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      const spec = structuredClone(data.charts[place.dataset.chart]);
      if (spec.mark && spec.mark.color) spec.mark.color = css(spec.mark.color);
      for (const layer of spec.layer || []) if (layer.mark.color) layer.mark.color = css(layer.mark.color);
      if (views.has(place)) views.get(place).finalize();
      place.textContent = "";
      const view = new vega.View(vega.parse(vegaLite.compile({ ...spec, config: theme() }).spec), {
        renderer: "svg", container: place, hover: true, loader: { load: () => Promise.reject(new Error("no network")),
          sanitize: () => Promise.reject(new Error("no network")) },
      });
      views.set(place, view);
      view.runAsync();
    }
  };
  draw();

  // -- theme
  const button = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  button.hidden = false;
  const name = () => { button.textContent = dark() ? "light" : "dark"; };
  button.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; name(); draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { name(); draw(); });
  name();

  // -- the attempts of a problem, when it is opened
  const seconds = value => value < 10 ? value.toFixed(1) + " s" : Math.round(value) + " s";
  const work = attempt => {
    const box = el("div", "work");
    for (const [role, text] of attempt.parts) {
      if (role === "tool") {
        const output = el("pre", "output", text.replace(/^\n?```output\n/, "").replace(/\n?```\n?$/, ""));
        output.dataset.what = "output";
        box.append(output);
        continue;
      }
      for (const piece of text.split(/(<tool_call>[\s\S]*?(?:<\/tool_call>|$))/)) {
        if (piece.startsWith("<tool_call>")) {
          const code = el("pre", "code", piece.replace(/^<tool_call>\n?/, "").replace(/\n?<\/tool_call>$/, ""));
          code.dataset.what = "code";
          box.append(code);
        } else if (piece.trim()) box.append(el("div", "said", piece.trim()));
      }
    }
    if (!box.childNodes.length) box.append(el("div", "said note", "nothing was written"));
    return box;
  };
  const fill = problem => {
    const place = problem.querySelector(".attempts");
    if (place.dataset.filled) return;
    place.dataset.filled = "1";
    for (const attempt of data.exams[problem.dataset.exam].problems[problem.dataset.problem]) {
      const details = el("details", "attempt"), summary = el("summary");
      summary.append(el("span", "number", "#" + (attempt.index + 1)), el("span", "tag " + attempt.tone, attempt.verdict));
      summary.append(el("b", "", attempt.answer === null ? "–" : attempt.answer));
      const facts = [attempt.tokens + " tokens"];
      if (attempt.calls) facts.push(attempt.calls + (attempt.calls === 1 ? " code call" : " code calls"));
      if (attempt.timeouts) facts.push(attempt.timeouts + " timed out");
      facts.push(seconds(attempt.seconds), "ended by " + attempt.stop);
      summary.append(el("span", "note", facts.join(" · ")));
      details.append(summary);
      details.addEventListener("toggle", () => { if (details.open && details.childNodes.length === 1) details.append(work(attempt)); });
      place.append(details);
    }
  };
  const problems = [...document.querySelectorAll("details.problem")];
  for (const problem of problems) {
    problem.addEventListener("toggle", () => { if (problem.open) fill(problem); });
    if (problem.open) fill(problem);
  }

  // -- one exam at a time, and filters
  const tools = document.getElementById("tools");
  if (tools) {
    tools.hidden = false;
    let exam = String(data.exams.length - 1), filter = "all";
    const show = () => {
      for (const sheet of document.querySelectorAll(".sheet[data-exam]")) sheet.hidden = sheet.dataset.exam !== exam;
      let count = 0;
      for (const problem of problems) {
        problem.hidden = filter !== "all" && !problem.dataset.is.split(" ").includes(filter);
        count += !problem.hidden && problem.dataset.exam === exam;
      }
      for (const b of tools.querySelectorAll("[data-exam]")) b.setAttribute("aria-pressed", b.dataset.exam === exam);
      for (const b of tools.querySelectorAll("[data-filter]")) b.setAttribute("aria-pressed", b.dataset.filter === filter);
      document.getElementById("count").textContent = count + (count === 1 ? " problem" : " problems");
    };
    for (const b of tools.querySelectorAll("[data-exam]")) b.onclick = () => { exam = b.dataset.exam; show(); };
    for (const b of tools.querySelectorAll("[data-filter]")) b.onclick = () => { filter = b.dataset.filter; show(); };
    show();
  }
})();
