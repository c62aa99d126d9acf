"use strict";
// Sorting, filters, plots, light and dark. Pages are whole without it.
const root = document.currentScript.dataset.root;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

// ---- light and dark
const html = document.documentElement;
const prefers = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (html.dataset.theme ? html.dataset.theme === "dark" : prefers.matches);
const toggle = document.getElementById("theme");
function nameToggle() {
  toggle.textContent = isDark() ? "light" : "dark";
  toggle.setAttribute("aria-label", `Switch to ${toggle.textContent} colours`);
}
toggle.hidden = false;
toggle.addEventListener("click", () => {
  html.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("rankstone-theme", html.dataset.theme); } catch { /* a disk may refuse */ }
  recolour();
});
prefers.addEventListener("change", recolour);
function recolour() { nameToggle(); drawn.forEach(draw); }

// ---- tables: a press sorts, the next one the other way round; what is missing stays last
function sortBy(head) {
  const row = head.parentNode, body = head.closest("table").tBodies[0], place = head.cellIndex;
  const other = { ascending: "descending", descending: "ascending" };
  const order = other[head.getAttribute("aria-sort")] || head.dataset.first;
  const sign = order === "ascending" ? 1 : -1, text = head.classList.contains("t");
  const keyed = [...body.rows].map((line) => {
    const cell = line.cells[place];
    return [text ? cell.textContent : parseFloat(cell.dataset.v), line];
  });
  const compare = text
    ? (a, b) => sign * a[0].localeCompare(b[0], "en")
    : (a, b) => (isNaN(a[0]) || isNaN(b[0]) ? isNaN(a[0]) - isNaN(b[0]) : sign * (a[0] - b[0]));
  keyed.sort(compare);
  body.append(...keyed.map((pair) => pair[1]));
  for (const cell of row.cells) if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", order);
}
for (const button of all(".sort")) button.addEventListener("click", () => sortBy(button.closest("th")));

// ---- filters: of the table behind them and of the page's plots
for (const form of all(".filters")) {
  const lines = [...form.nextElementSibling.querySelector("tbody").rows];
  const names = lines.map((line) => line.cells[0].textContent.toLowerCase());
  const output = form.querySelector("output");
  const apply = () => {
    const wanted = form.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = all("select", form).filter((s) => s.value).map((s) => [s.dataset.key, s.value]);
    let shown = 0;
    hidden.clear();
    lines.forEach((line, n) => {
      const kept = wanted.every((word) => names[n].includes(word)) &&
        chosen.every(([key, value]) => line.dataset[key] === value);
      line.hidden = !kept;
      shown += kept;
      if (!kept) hidden.add(line.dataset.page);
    });
    const whole = lines.length.toLocaleString("en"), noun = output.dataset.noun;
    output.textContent = shown < lines.length ? `${shown.toLocaleString("en")} of ${whole} ${noun}` : `${whole} ${noun}`;
    drawn.forEach(draw);
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
}

// ---- plots: drawn when they come into view; the library is loaded with the first
const drawn = new Set(), hidden = new Set();
let library;
function load() {
  library ||= Promise.all(["vega", "plots"].map((name) => new Promise((done, lost) => {
    const script = Object.assign(document.createElement("script"), { src: `${root}assets/${name}.js`, onload: done, onerror: lost });
    document.head.append(script);
  })));
  return library;
}
function colours() {
  const style = getComputedStyle(html), of = (name) => style.getPropertyValue(`--${name}`).trim();
  const words = Object.fromEntries(["ink", "dim", "faint", "line", "accent", "warm"].map((n) => [`$${n}`, of(n)]));
  const font = getComputedStyle(document.body).fontFamily;
  const config = {
    background: "transparent",
    axis: { labelColor: of("dim"), titleColor: of("dim"), gridColor: of("line"), domainColor: of("faint"), tickColor: of("faint"),
            labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8 },
    style: { cell: { stroke: null }, text: { font } },
    range: { category: [...Array(12).keys()].map((n) => of(`k${n}`)) },
  };
  return [words, config];
}
// Whole values only: words inside Vega's expressions stay as they are.
function put(value, words) {
  if (typeof value === "string") return Object.hasOwn(words, value) ? words[value] : value;
  if (Array.isArray(value)) return value.map((part) => put(part, words));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, put(v, words)]));
  return value;
}
const views = new WeakMap();
async function draw(figure) {
  await load();
  const own = Object.entries(JSON.parse(figure.dataset.words)).map(([key, text]) => [`$${key}`, text]);
  const [words, config] = colours();
  const spec = put(window.PLOTS[figure.dataset.plot], { ...words, ...Object.fromEntries(own) });
  const given = JSON.parse(figure.querySelector("script").textContent);
  const tables = Array.isArray(given) ? { rows: given } : given;
  tables.rows = tables.rows.map((row) => (row.page ? { ...row, page: root + row.page, off: hidden.has(row.page) } : row));
  for (const table of spec.data) if (tables[table.name]) table.values = tables[table.name];
  views.get(figure)?.finalize();
  views.set(figure, await vegaEmbed(figure.querySelector(".canvas"), { ...spec, background: "transparent" }, {
    mode: "vega", renderer: "svg", actions: false, defaultStyle: false, config, hover: true,
    tooltip: (_, event, item) => hint(event, item && item.datum),
  }));
  drawn.add(figure);
  figure.dataset.drawn = "";
}
const box = Object.assign(document.createElement("div"), { className: "hint", hidden: true });
document.body.append(box);
const short = (value) => Number(value).toFixed(3).replace(/^(-?)0\./, "$1.");
function hint(event, row) {
  box.hidden = !row || row.y === undefined;
  if (box.hidden) return;
  const ids = row.ids && row.ids.join(", ") + (row.n > row.ids.length ? ` and ${row.n - row.ids.length} more` : "");
  box.textContent = row.ids
    ? `${short(row.y)} against ${short(row.x)}\n${ids}`
    : `${row.name}\n${short(row.y)} (${short(row.low)}–${short(row.high)}), ${Number(row.x.toPrecision(3))}`;
  const width = Math.min(340, box.offsetWidth);
  box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  box.style.top = `${event.clientY + 16}px`;
}
addEventListener("scroll", () => { box.hidden = true; }, { passive: true });
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    draw(entry.target).catch(() => {
      entry.target.querySelector(".canvas").textContent = "The plot could not be drawn; the tables hold its figures.";
    });
  }
}, { rootMargin: "200px" });
for (const figure of all("figure[data-plot]")) seen.observe(figure);
addEventListener("beforeprint", () => all("figure[data-plot]:not([data-drawn])").forEach(draw));

// ---- commands
for (const button of all(".copy")) {
  if (!navigator.clipboard) { button.hidden = true; continue; }
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
nameToggle();
