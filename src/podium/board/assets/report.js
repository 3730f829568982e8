// Adds to a report that is already readable without it: filters, and the attempts inside each problem.
// Every text of a model or a problem goes through textContent, never through innerHTML.
"use strict";
(() => {
  const { data, typeset } = podium;
  const el = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const tex = (tag, className, text, whole) => {
    const node = el(tag, className, text);
    if (whole) node.dataset.whole = "";
    typeset(node);
    return node;
  };

  // -- the attempts of a problem, when it is opened
  const seconds = value => value < 10 ? value.toFixed(1) + " s" : Math.round(value) + " s";
  const work = attempt => {
    const box = el("div", "work");
    for (const [kind, text] of attempt.segments) {
      if (kind !== "text") {
        const block = el("pre", kind, text);
        block.dataset.what = kind;
        box.append(block);
      } else if (text.trim()) box.append(tex("div", "said", text.trim()));
    }
    if (!box.childNodes.length) box.append(el("div", "said note", "nothing was written"));
    return box;
  };
  const fill = problem => {
    const place = problem.querySelector(".attempts");
    if (place.dataset.filled) return;
    place.dataset.filled = "1";
    problem.querySelectorAll(".inside .tex").forEach(typeset);
    const shown = (problem.dataset.shown || "").split(" ");
    for (const attempt of data.exams[problem.dataset.exam].problems[problem.dataset.problem]) {
      const details = el("details", "attempt"), summary = el("summary");
      summary.append(el("span", "number", "#" + (attempt.index + 1)), el("span", "tag " + attempt.tone, attempt.verdict));
      summary.append(attempt.answer === null ? el("b", "", "–") : tex("b", "", attempt.answer, true));
      const facts = [attempt.tokens + " tokens"];
      if (attempt.calls) facts.push(attempt.calls + (attempt.calls === 1 ? " code call" : " code calls"));
      if (attempt.timeouts) facts.push(attempt.timeouts + " timed out");
      facts.push(seconds(attempt.seconds), "ended by " + attempt.stop);
      summary.append(el("span", "note", facts.join(" · ")));
      details.append(summary);
      const unfold = () => { if (details.open && details.childNodes.length === 1) details.append(work(attempt)); };
      details.addEventListener("toggle", unfold);
      details.open = shown.includes(String(attempt.index));
      unfold();
      place.append(details);
    }
  };
  for (const problem of document.querySelectorAll("details.problem")) {
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
      for (const problem of document.querySelectorAll(".sheet[data-exam] > details.problem")) {
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
