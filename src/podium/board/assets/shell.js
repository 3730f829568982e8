// What every page has: the theme, the charts, and mathematics where a text holds some.
"use strict";
const podium = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();

  // -- charts
  const theme = () => {
    const quiet = css("--quiet"), line = css("--line"), font = css("--sans");
    return {
      background: null, font, padding: { left: 0, right: 6, top: 6, bottom: 0 },
      view: { stroke: null },
      axis: { domain: false, ticks: false, grid: true, gridColor: line, labelColor: quiet, labelFontSize: 11,
        titleColor: quiet, titleFontSize: 11, titleFontWeight: "normal", labelPadding: 6, titlePadding: 8 },
      axisX: { grid: false }, line: { strokeWidth: 2, strokeCap: "round", strokeJoin: "round" },
      range: { category: Array.from({ length: data.colours }, (_, i) => css("--c" + i)) },
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

  // -- mathematics: at once where it stands open, else when it comes near the window
  const typeset = node => { if (typeof mathematics !== "undefined") mathematics.show(node); };
  const near = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); typeset(entry.target); }
  }, { rootMargin: "800px" });
  for (const node of document.querySelectorAll(".tex")) near.observe(node);
  return { data, typeset };
})();
