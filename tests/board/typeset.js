// Runs the page's script for mathematics in Node.js: texts on standard input, what was built of each on standard output.
const fs = require("fs");
const { math, katex: path, texts } = JSON.parse(fs.readFileSync(0, "utf8"));
// The smallest document that KaTeX builds in: elements that remember their children and write themselves out.
class Node {
  constructor(tag) {
    Object.assign(this, { tag, childNodes: [], attributes: {}, style: {}, dataset: {}, className: "", text: "" });
  }
  appendChild(child) { this.childNodes.push(...(child.tag === "#fragment" ? child.childNodes : [child])); return child; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  set textContent(value) { this.childNodes = []; this.text = value; }
  get textContent() { return this.text + this.childNodes.map(child => child.textContent).join(""); }
  get classList() { const names = this.className.split(" "); return { contains: name => names.includes(name) }; }
  replaceChildren(...children) { this.text = ""; this.childNodes = children; }
}
const make = tag => new Node(tag);
globalThis.document = {
  createElement: make, createElementNS: (_, tag) => make(tag), createDocumentFragment: () => make("#fragment"),
  createTextNode: text => { const node = make("#text"); node.text = text; return node; }, compatMode: "CSS1Compat",
};
globalThis.katex = require(path);
const mathematics = require(math);
const tags = node => [node.tag, ...Object.keys(node.attributes).filter(name => /^on|href|src/i.test(name)).map(name => "@" + name), ...node.childNodes.flatMap(tags)];
console.log(JSON.stringify(texts.map(([text, whole]) => {
  const node = make("p");
  node.text = text;
  if (whole) node.dataset.whole = "";
  mathematics.show(node);
  return { pieces: mathematics.pieces(text, whole).map(([kind, source]) => [kind, source]), text: node.textContent,
    formulas: node.childNodes.filter(child => child.className !== "").map(child => [child.className, child.title]),
    tags: [...new Set(tags(node))] };
})));
