// Mathematics in texts of models and problems, by KaTeX; what it cannot read stays as it was written. Nothing of a text
// becomes markup: KaTeX builds elements, and with trust off it makes no link, image, class or style that a text asks for.
"use strict";
const mathematics = (() => {
  const LONGEST = 4000; // characters of a formula; longer ones are a model going round in circles
  const OPTIONS = { throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 500 };
  const ENVIRONMENT = /^\\begin\{((?:align|aligned|gather|gathered|equation|multline|split|cases|array|matrix|[pbBvV]matrix)\*?)\}/;
  // Parts in which a dollar is a dollar: code, and drawings in Asymptote.
  const VERBATIM = /^(?:```[\s\S]*?(?:```|$)|`[^`\n]+`|\[asy\][\s\S]*?(?:\[\/asy\]|$))/;

  // Where `end` stands from `from` on, outside of braces; -1: nowhere before a paragraph break.
  const closing = (text, from, end) => {
    let depth = 0;
    for (let at = from; at < text.length; at++) {
      if (depth <= 0 && text.startsWith(end, at)) return at;
      if (text[at] === "\\") at++;
      else if (text[at] === "{") depth++;
      else if (text[at] === "}") depth--;
      else if (text[at] === "\n" && /^\n[ \t]*\n/.test(text.slice(at, at + 80))) return -1;
    }
    return -1;
  };
  const brace = (text, from) => { // index after the group that opens at `from`
    let depth = 0;
    for (let at = from; at < text.length; at++) {
      if (text[at] === "\\") at++;
      else if (text[at] === "{") depth++;
      else if (text[at] === "}" && --depth === 0) return at + 1;
    }
    return -1;
  };
  // Between two dollars stands mathematics, or prose between two prices.
  const plausible = (inside, after) => {
    if (!inside.trim()) return false;
    if (/\\[a-zA-Z]|[_^=]/.test(inside)) return true;
    return !/^\s|\s$/.test(inside) && !/^\d/.test(after) && !/[A-Za-z]{3,}\s+[A-Za-z]{2,}/.test(inside);
  };

  // A text as [kind, source, as it was written] pieces; kind: text, inline, display.
  const split = text => {
    const pieces = [];
    let plain = "", at = 0;
    const push = (kind, source, next) => {
      if (plain) pieces.push(["text", plain, plain]);
      plain = "";
      pieces.push([kind, source, text.slice(at, next)]);
      at = next;
    };
    while (at < text.length) {
      if (!"`[\\$".includes(text[at])) { plain += text[at++]; continue; }
      const tail = text.slice(at, at + 20000);
      const verbatim = VERBATIM.exec(tail);
      if (verbatim) { plain += verbatim[0]; at += verbatim[0].length; continue; }
      let end;
      if (tail.startsWith("\\$")) { plain += "$"; at += 2; continue; }
      if (tail.startsWith("\\\\")) { plain += "\\\\"; at += 2; continue; }
      if (tail.startsWith("$$") && (end = text.indexOf("$$", at + 2)) > at + 2) { push("display", text.slice(at + 2, end), end + 2); continue; }
      if (tail.startsWith("\\[") && (end = text.indexOf("\\]", at + 2)) > 0) { push("display", text.slice(at + 2, end), end + 2); continue; }
      if (tail.startsWith("\\(") && (end = text.indexOf("\\)", at + 2)) > 0) { push("inline", text.slice(at + 2, end), end + 2); continue; }
      const environment = ENVIRONMENT.exec(tail);
      if (environment) {
        const last = "\\end{" + environment[1] + "}";
        if ((end = text.indexOf(last, at)) > 0) { push("display", text.slice(at, end + last.length), end + last.length); continue; }
      }
      const boxed = /^\\f?boxed\s*\{/.exec(tail);
      if (boxed && (end = brace(text, at + boxed[0].length - 1)) > 0) {
        push("inline", text.slice(at, end).replace(/^\\fboxed/, "\\boxed"), end);
        continue;
      }
      if (text[at] === "$" && (end = closing(text, at + 1, "$")) > 0 && plausible(text.slice(at + 1, end), text.slice(end + 1, end + 2))) {
        push("inline", text.slice(at + 1, end), end + 1);
        continue;
      }
      plain += text[at++];
    }
    if (plain) pieces.push(["text", plain, plain]);
    return pieces;
  };

  // An answer is a formula as a whole where it looks like one: \frac{1}{2}, x^2.
  const pieces = (text, whole) =>
    whole && !/\$|\\\(|\\\[/.test(text) && /\\[a-zA-Z{}]|\^|_\{/.test(text) ? [["inline", text, text]] : split(text);

  const formula = (source, display) => {
    if (source.length > LONGEST) return null;
    const place = document.createElement("span");
    place.className = display ? "display" : "formula";
    try {
      katex.render(source, place, { ...OPTIONS, displayMode: display, macros: {} });
    } catch {
      return null;
    }
    place.title = source;
    return place;
  };

  // Typeset the text of an element, once. data-whole: an answer; class clip: on one line.
  const show = node => {
    if (node.dataset.typeset) return;
    node.dataset.typeset = "1";
    const text = node.textContent, found = pieces(text, "whole" in node.dataset);
    if (found.every(([kind]) => kind === "text")) {
      const plain = found.map(([, source]) => source).join("");
      if (plain !== text) node.textContent = plain;
      return;
    }
    const clipped = node.classList.contains("clip");
    const made = found.map(([kind, source]) => kind === "text" ? null : formula(source, kind === "display" && !clipped));
    // A displayed formula stands on lines of its own: line ends around it would be empty lines.
    const displayed = at => made[at]?.className === "display";
    node.replaceChildren(...found.map(([kind, source, written], at) => {
      if (made[at]) return made[at];
      let plain = kind === "text" ? source : written;
      if (displayed(at - 1)) plain = plain.replace(/^[ \t]*\n?[ \t]*/, "");
      if (displayed(at + 1)) plain = plain.replace(/[ \t]*\n?[ \t]*$/, "");
      return document.createTextNode(plain);
    }));
  };

  return { split, pieces, show };
})();
if (typeof module !== "undefined") module.exports = mathematics;
