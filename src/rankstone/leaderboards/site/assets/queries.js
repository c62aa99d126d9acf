"use strict";
// The list of queries: values and results are loaded from scripts beside the page when needed.
const QUERIES = {};
(() => {
  const home = document.currentScript.dataset.root;
  const list = document.querySelector(".queries"), form = document.querySelector(".choose");
  const lines = [...list.children], field = form.elements, output = form.querySelector("output");
  const texts = lines.map((line) => line.textContent.toLowerCase());
  const figures = lines.map((line) => line.querySelector(".delta"));
  lines.forEach((line, n) => { line.number = n; });
  const loading = {};
  const load = (name) => loading[name] ||= new Promise((done, lost) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `${home}${list.dataset.folder}/${name}.js`, onload: done, onerror: lost });
    document.head.append(script);
  });
  const make = (tag, text = "", kind = "") => Object.assign(document.createElement(tag), { textContent: text, className: kind });
  const short = (v) => (v === null ? "–" : Number(v).toFixed(3).replace(/^(-?)0\./, "$1."));
  let methods, values;
  const side = (name) => methods.findIndex((method) => method.key === field[name].value);

  // ---- one query
  function ranking(part, row, method, other, n) {
    const found = make("div"), ranks = part.ranks[row][method], theirs = part.ranks[row][other];
    const head = make("h3"), link = make("a", methods[method].name);
    link.href = home + methods[method].page;
    head.append(link, `: ${short(values[method][n])}`);
    found.append(head);
    if (!ranks) found.append(make("p", ranks === null ? "The run is not stored beside the record." : "Results of this method are not shown: see the limits above.", "note"));
    else if (!ranks.length) found.append(make("p", "No results.", "note"));
    else found.append(hits(part, row, ranks, theirs));
    return found;
  }
  function hits(part, row, ranks, theirs) {
    const found = make("ol");
    for (const doc of ranks) {
      const [id, text] = part.docs[doc], label = part.labels[row][doc], line = make("li");
      line.append(make("code", id), " ");
      if (label !== undefined) line.append(make("span", `${label > 0 ? "relevant" : "not relevant"}, ${label}`, `label ${label > 0 ? "yes" : "no"}`), " ");
      if (theirs) {
        const at = theirs.indexOf(doc) + 1;
        line.append(make("span", at ? `rank ${at} in the other ranking` : `not in the other top ${QUERIES.values.depth}`, "dim"));
      }
      if (text) line.append(make("p", text));
      found.append(line);
    }
    return found;
  }
  async function show(line) {
    const n = line.number, size = Number(list.dataset.part), name = Math.floor(n / size), a = side("a"), b = side("b");
    await load(name);
    const part = QUERIES[name], both = make("div", "", "both");
    both.append(ranking(part, n % size, a, b, n));
    if (b >= 0 && b !== a) both.append(ranking(part, n % size, b, a, n));
    const every = make("p", "", "note values");
    const order = methods.map((_, m) => m).sort((x, y) => values[y][n] - values[x][n] || x - y);
    for (const m of order) every.append(make("span", `${methods[m].name} ${short(values[m][n])}`), " ");
    const relevant = part.relevant[n % size];
    if (relevant) every.append(make("span", `relevant documents: ${relevant}`));
    while (line.children.length > 1) line.lastChild.remove();
    line.append(every, both);
  }

  // ---- all queries: only what a choice changes is touched, for there may be thousands
  let before = { order: "", sides: "" };
  function sort(a, b) {
    const gain = (n) => values[a][n] - (b < 0 ? 0 : values[b][n]);
    const keys = { low: (n) => values[a][n], high: (n) => -values[a][n], gain: (n) => -gain(n), loss: gain };
    const key = keys[field.s.value] || ((n) => n);
    list.append(...[...lines].sort((x, y) => key(x.number) - key(y.number) || x.number - y.number));
  }
  function name(a, b) {
    lines.forEach((line, n) => {
      const text = short(values[a][n]);
      figures[n].textContent = b < 0 ? text : `${text} / ${short(values[b][n])}`;
      if (line.open) show(line);
    });
  }
  function apply() {
    const words = field.t.value.toLowerCase().split(/\s+/).filter(Boolean), a = side("a"), b = side("b");
    const sides = `${a} ${b}`, order = field.s.value && `${field.s.value} ${sides}`;
    if (order !== before.order) sort(a, b);
    if (sides !== before.sides) name(a, b);
    before = { order, sides };
    let shown = 0;
    lines.forEach((line, n) => {
      const kept = words.every((word) => texts[n].includes(word));
      if (line.hidden === kept) line.hidden = !kept;
      shown += kept;
    });
    output.textContent = shown ? `${shown.toLocaleString("en")} of ${lines.length.toLocaleString("en")} queries` : "No query contains these words.";
    remember();
  }
  function remember() {
    const state = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const open = lines.filter((line) => line.open && !line.hidden);
    if (open.length === 1) state.set("q", open[0].dataset.id);
    history.replaceState(null, "", `#${state}`);
  }
  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    field.a.value = methods.some((m) => m.key === state.get("a")) ? state.get("a") : methods[0].key;
    const other = methods.find((m) => m.key !== field.a.value);
    field.b.value = state.get("b") ?? (!state.has("a") && other ? other.key : "");
    for (const name of ["s", "t"]) field[name].value = state.get(name) || "";
    const asked = lines.find((line) => line.dataset.id === state.get("q"));
    if (asked) asked.open = true;
    apply();
    asked?.scrollIntoView();
  }
  function choices() {
    field.b.append(new Option("no other", ""));
    for (const { key, name } of methods) { field.a.append(new Option(name, key)); field.b.append(new Option(name, key)); }
  }
  load("values").then(() => {
    ({ methods, values } = QUERIES.values);
    choices();
    form.hidden = false;
    recall();
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => { history.replaceState(null, "", "#"); recall(); }));
    addEventListener("hashchange", recall);
    list.addEventListener("toggle", (event) => { if (event.target.open) show(event.target); remember(); }, true);
  });
})();
