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
  nameToggle();
});
prefers.addEventListener("change", nameToggle);

// ---- the address keeps the choice: sorting, filters, columns, cost
const state = new URLSearchParams(location.search);
function keep(key, value) {
  if (value) state.set(key, value); else state.delete(key);
  const text = state.toString();
  history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
}

// ---- tables: a press sorts, the next one the other way round; what is missing stays last
function sortBy(head, order) {
  const row = head.parentNode, body = head.closest("table").tBodies[0], at = head.cellIndex;
  const sign = order === "ascending" ? 1 : -1, text = head.classList.contains("t");
  const keyed = [...body.rows].map((line) => {
    const cell = line.cells[at];
    return [text ? (cell.querySelector("a") || cell).textContent : parseFloat(cell.dataset.v), line];
  });
  const compare = text
    ? (a, b) => sign * a[0].localeCompare(b[0], "en")
    : (a, b) => (isNaN(a[0]) || isNaN(b[0]) ? isNaN(a[0]) - isNaN(b[0]) : sign * (a[0] - b[0]));
  keyed.sort(compare);
  body.append(...keyed.map((pair) => pair[1]));
  for (const cell of row.cells) if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", order);
}
const other = { ascending: "descending", descending: "ascending" };
for (const button of all(".sort")) button.addEventListener("click", () => {
  const head = button.closest("th"), order = other[head.getAttribute("aria-sort")] || head.dataset.first;
  sortBy(head, order);
  keep("sort", `${head.dataset.name}:${order}`);
});
const [sorted, order] = (state.get("sort") || "").split(/:(?=[a-z]+$)/);
const heads = all("th[data-name]");
if (other[order]) heads.filter((head) => head.dataset.name === sorted).forEach((head) => sortBy(head, order));

// ---- filters: of the table behind them and of the page's plots
const hidden = new Set();
for (const form of all(".filters")) {
  const table = form.nextElementSibling.querySelector("table");
  const lines = [...table.tBodies[0].rows], none = form.parentNode.querySelector(".none");
  const names = lines.map((line) => line.cells[0].textContent.toLowerCase());
  const output = form.querySelector("output"), search = form.querySelector("input[type=search]");
  const selects = all("select", form), boxes = all("input[type=checkbox]", form);
  const rules = document.head.appendChild(document.createElement("style"));
  const columns = () => {
    const off = boxes.filter((box) => !box.checked);
    rules.textContent = off.map((box) => {
      const n = 1 + heads.find((head) => head.dataset.name === box.value).cellIndex;
      return `table.board :is(th, td):nth-child(${n}) { display: none; }`;
    }).join("\n");
    keep("hide", off.map((box) => box.value).join("|"));
  };
  const apply = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = selects.filter((s) => s.value).map((s) => [s.dataset.key, s.value]);
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
    none.hidden = shown > 0;
    keep("search", search.value);
    for (const select of selects) keep(select.dataset.key, select.value);
    for (const figure of all("figure[data-plot]")) {
      if (figure.dataset.plot in inPage && (hidden.size || "drawn" in figure.dataset)) draw(figure).catch(lost(figure));
    }
  };
  form.addEventListener("input", (event) => { if (boxes.includes(event.target)) columns(); else apply(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { columns(); apply(); }));
  none.querySelector("button").addEventListener("click", () => form.reset());
  search.value = state.get("search") || "";
  for (const select of selects) {
    const value = state.get(select.dataset.key);
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  }
  for (const name of (state.get("hide") || "").split("|")) {
    boxes.filter((box) => box.value === name).forEach((box) => { box.checked = false; });
  }
  queueMicrotask(() => {  // when everything below is defined
    if (boxes.some((box) => !box.checked)) columns();
    if (search.value || selects.some((s) => s.value)) apply();
  });
}

// ---- the cost that quality is drawn against
const cost = document.getElementById("cost");
if (cost) {
  const show = () => {
    for (const figure of all("figure[data-cost]")) figure.hidden = figure.dataset.cost !== cost.value;
  };
  cost.parentNode.hidden = false;
  if ([...cost.options].some((option) => option.value === state.get("cost"))) cost.value = state.get("cost");
  cost.addEventListener("change", () => { keep("cost", cost.value); show(); });
  show();
}

// ---- plots. Those of quality against cost stand in the page and are drawn again where filters or a
// narrow window change them; the others are drawn when they come into view. The library is loaded
// with the first drawing.
const inPage = { front: 1, home: 1 };
let library;
function load() {
  library ||= Promise.all(["vega", "plots"].map((name) => new Promise((done, lost) => {
    const script = Object.assign(document.createElement("script"), { src: `${root}assets/${name}.js`, onload: done, onerror: lost });
    document.head.append(script);
  })));
  return library;
}
// Whole values only: words inside Vega's expressions stay as they are.
function put(value, words) {
  if (typeof value === "string") return Object.hasOwn(words, value) ? words[value] : value;
  if (Array.isArray(value)) return value.map((part) => put(part, words));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, put(v, words)]));
  return value;
}
// Pareto-optimal: no other point is at least as good in both and better in one of the two.
function optimal(rows) {
  let best = -Infinity, last;
  for (const row of rows.filter((one) => one.able).sort((a, b) => a.x - b.x || b.y - a.y)) {
    row.front = row.y > best || (last && last.x === row.x && last.y === row.y);
    if (row.front) { best = row.y; last = row; }
  }
  for (const row of rows) row.short = row.front ? row.name : "";
}
async function draw(figure) {
  const turn = figure.turn = (figure.turn || 0) + 1;
  await load();
  const kind = figure.dataset.plot, canvas = figure.querySelector(".canvas");
  const words = Object.entries(JSON.parse(figure.dataset.words)).map(([key, text]) => [`$${key}`, text]);
  const spec = put(window.PLOTS[kind], Object.fromEntries(words));
  const given = JSON.parse(figure.querySelector("script").textContent);
  const tables = Array.isArray(given) ? { rows: given } : given;
  if (kind in inPage) {
    tables.rows = tables.rows.filter((row) => !hidden.has(row.key));
    for (const row of tables.rows) row.page = root + row.page;
    optimal(tables.rows);
    const names = spec.marks.find((mark) => mark.type === "text");
    if (names) place(names, spec.marks.find((mark) => mark.type === "symbol"));
  }
  figure.dataset.drawn = "";
  const best = kind in inPage && tables.rows.filter((row) => row.front).sort((a, b) => a.x - b.x);
  if (best) figure.querySelector(".caption").textContent = best.length ? `Pareto-optimal: ${best.map((row) => row.name).join(", ")}.` : "";
  if (!tables.rows.length) { canvas.textContent = "No method with this cost matches the filters."; return; }
  for (const table of spec.data) if (tables[table.name]) table.values = tables[table.name];
  const width = canvas.clientWidth || figure.parentNode.clientWidth;
  Object.assign(spec, { width, height: spec.height + 50, autosize: { type: "fit", contains: "padding" } });
  const options = { mode: "vega", renderer: "svg", actions: false, defaultStyle: false, logLevel: 1 };
  const { view } = await vegaEmbed(document.createElement("div"), spec, options);
  const svg = await view.toSVG();
  if (turn === figure.turn) canvas.innerHTML = svg;  // a later choice may be drawn already
  view.finalize();
}
// Vega finds room for the names among the points that the filters left.
function place(names, points) {
  names.from = { data: points.name };
  const { fontSize, fill } = names.encode.update;
  names.encode = { update: { fontSize, fill, text: { field: "datum.short" } } };
  names.transform = [{ type: "label", size: { signal: "[width, height]" }, offset: [4],
    anchor: ["top-right", "top-left", "right", "left", "bottom-right", "bottom-left", "top", "bottom"] }];
}
const lost = (figure) => () => {
  figure.querySelector(".canvas").textContent = "The plot could not be drawn; the tables hold its figures.";
};
const box = Object.assign(document.createElement("div"), { className: "hint", hidden: true });
document.body.append(box);
function hint(event) {
  const point = event.target.closest(".canvas a, .canvas .mark-symbol path");
  const text = point && (point.getAttribute("aria-label") || point.querySelector("[aria-label]")?.getAttribute("aria-label"));
  box.hidden = !text;
  if (box.hidden) return;
  box.textContent = text;
  const at = point.getBoundingClientRect(), width = Math.min(340, box.offsetWidth);
  box.style.left = `${Math.max(4, Math.min(at.right + 6, innerWidth - width - 8))}px`;
  box.style.top = `${at.bottom + 6}px`;
}
addEventListener("mouseover", hint);
addEventListener("focusin", hint);
addEventListener("scroll", () => { box.hidden = true; }, { passive: true });
const narrow = (figure) => {
  const drawing = figure.querySelector("svg.marks");
  return drawing && figure.clientWidth && figure.clientWidth < 0.8 * drawing.viewBox.baseVal.width;
};
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    if (!(target.dataset.plot in inPage) || narrow(target)) draw(target).catch(lost(target));
  }
}, { rootMargin: "200px" });
const figures = all("figure[data-plot]").filter((figure) => figure.querySelector("script"));
for (const figure of figures) seen.observe(figure);
addEventListener("beforeprint", () => figures.filter((f) => !f.querySelector("svg")).forEach(draw));

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
