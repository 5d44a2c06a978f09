// Makes a report sortable, searchable and drawn anew. Without it the page says the same, at rest.
// Whatever comes from a file is put into the page as textContent, never as HTML.

const MOST_CHOICES = 300;  // texts of a column that are offered as a list
const packed = (id) => document.getElementById(`packed-${id}`);

async function unpack(id) {
  const text = atob(packed(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const unpackJson = async (id) => JSON.parse(await unpack(id));

async function program(id) {
  const text = await unpack(id);
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return await import(url);
  } catch (error) {
    if (!inFrame) throw error;
    return inline(id, text);
  }
}

/** The same as a script of the page, for notebooks in programs that run no blob, as VS Code. */
const inFrame = location.protocol === "about:";
function inline(id, text) {
  const [, name] = /([\w$]+) as default/.exec(text) ?? [];
  return new Promise((resolve) => {
    window[`ran-${id}`] = resolve;
    document.head.append(make("script", {
      type: "module", textContent: `${text}\n;window["ran-${id}"]({ default: ${name} });`,
    }));
  });
}

/** Return what gives the same promise whenever it is asked. */
const once = (make) => { let made; return () => (made ??= make()); };
const vega = once(() => program("vega"));
const figures = once(() => unpackJson("figures"));

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function download(name, content, type) {
  const href = content.startsWith?.("data:") ? content
    : URL.createObjectURL(new Blob([content], { type }));
  make("a", { href, download: name }).click();
}

/** Return a cell of a CSV file: quoted, and no formula that a spreadsheet would run. */
function csvCell(value) {
  if (value === null || typeof value === "number") return value ?? "";
  const text = /^[\s\0]*[=@+\-\t\r]/.test(value) ? `'${value}` : value;
  return `"${text.replaceAll('"', '""')}"`;
}
const csvText = (rows) => `${rows.map((row) => row.map(csvCell).join(",")).join("\n")}\n`;

const button = (text, label, onclick) =>
  make("button", { type: "button", textContent: text, ariaLabel: label, onclick });

const LANGUAGE = {
  search: "Filter", info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "No rows",
  infoFiltered: "(filtered from _MAX_)", zeroRecords: "No such row.", emptyTable: "No rows.",
};

// Tables ----------------------------------------------------------------------------------------

function scrolls(container, label) {
  const box = container.querySelector(".dt-layout-table");
  Object.assign(box, { tabIndex: 0, role: "region", ariaLabel: label });
  const pages = container.querySelector(".dt-paging nav");
  if (pages) pages.ariaLabel = `Pages of ${label}`;
}

/** On a narrow screen, show the columns that fit, the first always, and the others when asked. */
function narrow(table, wanted = []) {
  if (!matchMedia("screen and (max-width: 40rem)").matches) return;
  const container = table.table().container();
  const room = container.querySelector(".dt-layout-table").clientWidth;
  const widths = table.columns().header().toArray().map((head) => head.getBoundingClientRect().width);
  const first = [0, ...wanted, ...widths.keys()].filter((c, at, all) => all.indexOf(c) === at);
  let used = 0;
  const kept = new Set(first.filter((c, at) => {
    if (at && used + widths[c] > room) return false;
    used += widths[c];
    return true;
  }));
  if (kept.size === widths.length) return;
  const show = (all) => {
    for (const c of widths.keys()) table.column(c).visible(all || kept.has(c), false);
    toggle.textContent = all ? "Fewer columns" : `All ${widths.length} columns`;
    toggle.onclick = () => show(!all);
  };
  const toggle = make("button", { type: "button" });
  container.prepend(toggle);
  show(false);
  addEventListener("beforeprint", () => show(true));
}

function enhanceTable(DataTable, box, { csv, columns }) {
  const table = box.querySelector("table");
  const options = {
    order: [], autoWidth: false, language: LANGUAGE, lengthChange: false,
    columnDefs: [{ targets: "n", type: "num" }],
  };
  const written = table.tBodies[0].rows.length;
  if (columns) {  // more rows than are written out
    const n = columns[0].cells.length;
    table.tBodies[0].replaceChildren();
    table.caption.querySelector(".cut")?.toggleAttribute("hidden", n < 5000);
    options.data = columns[0].cells.map((_, row) => [row]);
    options.columns = columns.map((column) => ({
      data: 0, className: column.numbers ? "n" : "t",
      type: column.numbers ? "num" : "string",
      render: (row, kind) => {
        if (kind === "display") return "";
        return column.numbers ? sortable(column.numbers[row]) : escaped(column.cells[row]);
      },
      createdCell: (cell, row) => { cell.textContent = column.cells[row]; },
    }));
  }
  const paging = Boolean(columns);
  const name = box.dataset.table;
  const save = () => button("CSV", `Download ${name} as CSV`, () => download(`${name}.csv`, csv, "text/csv"));
  const made = new DataTable(table, {
    ...options, paging, info: paging, pageLength: written,
    layout: {
      topStart: written > 1 ? "search" : null, topEnd: save,
      bottomStart: paging ? "info" : null, bottomEnd: paging ? "paging" : null,
    },
  });
  const wide = box.querySelector(".wide");
  scrolls(box, wide.ariaLabel);
  narrow(made);
  for (const attribute of ["role", "tabindex", "aria-label"]) wide.removeAttribute(attribute);
}

// DataTables looks for HTML in what it sorts and searches.
const escaped = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const sortable = (value) => value === null ? -Infinity : Number(String(value).replace("inf", "Infinity"));

function enhanceTables(DataTable, tables) {
  const enhance = (box) => {
    if (!box.dataset.done) enhanceTable(DataTable, box, tables[box.dataset.table]);
    box.dataset.done = "yes";
  };
  for (const box of document.querySelectorAll("[data-table]")) {
    const hidden = box.closest("details:not([open])");
    if (hidden) hidden.addEventListener("toggle", () => enhance(box), { once: true });
    else enhance(box);
  }
}

// Figures ---------------------------------------------------------------------------------------

/** Draw a chart; expressions are interpreted, so that the page needs no leave to run texts. */
async function draw(plot, spec) {
  await vega();
  const { view } = await window.vegaEmbed(plot, spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
    tooltip: { disableDefaultStyle: true }, loader: { load: () => Promise.reject(new Error("offline")) },
  });
  return view;
}

function figureTools(name, svg, png, csv) {
  return make("div", { className: "tools" },
    button("SVG", `Download ${name} as SVG`, async () => download(`${name}.svg`, await svg(), "image/svg+xml")),
    button("PNG", `Download ${name} as PNG`, async () => download(`${name}.png`, await png())),
    button("CSV", `Download the data of ${name} as CSV`, async () => download(`${name}.csv`, await csv(), "text/csv")));
}

function enhanceFigures() {
  const drawn = new Map();
  const enhance = (figure) => {
    const name = figure.dataset.figure;
    if (!drawn.has(name)) {
      drawn.set(name, figures().then(async (all) =>
        draw(figure.querySelector(".plot"), JSON.parse(all[name].spec))));
    }
    return drawn.get(name);
  };
  const watch = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { watch.unobserve(target); enhance(target); }
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll("[data-figure]")) {
    const name = figure.dataset.figure;
    figure.append(figureTools(name,
      async () => (await enhance(figure)).toSVG(),
      async () => (await enhance(figure)).toImageURL("png", 3),
      async () => (await figures())[name].csv));
    watch.observe(figure);
  }
}

// Explorer --------------------------------------------------------------------------------------

/** A column: value(i) to be shown, order(i) to sort by. */
function columnOf(raw) {
  if (raw.texts) {
    return { ...raw, value: (i) => raw.texts[raw.codes[i]], order: (i) => raw.codes[i] };
  }
  const values = Float64Array.from(raw.numbers, sortable);
  return { ...raw, value: (i) => shown(raw.numbers[i]), order: (i) => values[i] };
}

function shown(value) {
  if (value === null) return "–";
  if (typeof value === "string") return value.replace("inf", "∞").replace("-", "−");
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2)
    : String(Number(value.toPrecision(size >= 100 ? 4 : 3)));
}

/** A number of parameters as people say it: 7B. */
function short(value) {
  const power = Math.min(Math.floor(Math.log10(Math.abs(value)) / 3), 4);
  return power > 0 ? `${Number((value / 1000 ** power).toPrecision(3))}${" KMBT"[power]}` : shown(value);
}

/** Which curves a search finds: every word in some text of the curve, counted by text not by curve. */
function searcher(columns) {
  const lower = columns.map(({ texts }) => texts.map((text) => text.toLowerCase()));
  return (query) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.map((word) => lower.map((texts) => texts.map((text) => text.includes(word))));
    return (i) => found.every((of) => columns.some(({ codes }, c) => of[c][codes[i]]));
  };
}

class Explorer {
  constructor(DataTable, data, place) {
    this.data = data;
    this.columns = data.columns.map(columnOf);
    this.facts = Object.fromEntries(Object.entries(data.facts).map(([name, raw]) => [name, columnOf(raw)]));
    this.n = data.outputs.length;
    this.keep = new Uint8Array(this.n).fill(1);
    this.texts = this.columns.filter(({ texts }) => texts);
    this.find = searcher(this.texts);
    this.filters = new Map();
    this.state = new URLSearchParams();
    this.hint = make("p", { id: "explorer-hint", className: "source", textContent: "Choose a curve in the table." });
    this.hint.setAttribute("aria-live", "polite");
    this.chosen = make("div", { id: "chosen" });
    const table = make("table");
    place.replaceChildren(this.form(), make("div", { id: "curves" }, table), this.hint, this.chosen);
    this.table = this.fill(DataTable, table);
    addEventListener("hashchange", () => this.restore());
    this.reading = true;
    this.filter();  // the first one takes longest
    this.reading = false;
    this.restore();
  }

  form() {
    const form = make("form", { id: "filters", onsubmit: (event) => event.preventDefault() });
    const add = (name, label, input) => {
      this.filters.set(name, input);
      input.name = name;
      input.addEventListener("input", () => this.filter());
      form.append(make("label", {}, label, input));
    };
    add("q", "search", make("input", { type: "search", placeholder: "words of any column" }));
    for (const { name, label, texts } of this.texts) {
      if (texts.length < 2 || texts.length > MOST_CHOICES) continue;
      const choices = texts.map((text) => make("option", { value: text, textContent: text }));
      add(name, label, make("select", {}, make("option", { value: "", textContent: "all" }), ...choices));
    }
    add("above", "E above", make("input", { type: "number", step: "any", placeholder: String(this.data.threshold) }));
    if (this.columns.some(({ name }) => name.endsWith("q_bh"))) {
      add("q-below", "q at most", make("input", { type: "number", step: "any", min: 0, max: 1, placeholder: "0.05" }));
    }
    form.append(
      button("Clear", "Clear search and filters", () => {
        for (const input of this.filters.values()) input.value = "";
        this.filter();
      }),
      button("CSV", "Download the curves found as CSV", () => this.save()));
    return form;
  }

  fill(DataTable, table) {
    const columns = this.columns.map((column) => ({
      data: 0, title: column.label, searchable: false, type: "num", className: column.texts ? "t" : "n",
      orderSequence: column.texts ? ["asc", "desc"] : ["desc", "asc"],
      render: (i, kind) => (kind === "display" ? "" : column.order(i)),
      createdCell: (cell, i) => { cell.textContent = column.value(i); },
    }));
    const e = this.columns.findIndex(({ name }) => name === "emergence_score");
    const highest = e < 0 ? [] : [[e, "desc"]];
    const made = new DataTable(table, {
      data: Array.from({ length: this.n }, (_, i) => [i]),
      columns, order: highest, autoWidth: false, pageLength: inFrame ? 8 : 15, lengthChange: false,
      language: { ...LANGUAGE, info: "_START_ to _END_ of _TOTAL_ curves", zeroRecords: "No such curve." },
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
      createdRow: (row, [i]) => {
        const [first] = row.cells;
        first.replaceChildren(button(first.textContent, `Show ${first.textContent}`, null));
        row.dataset.curve = i;
        row.onclick = () => this.choose(i, true);
        row.classList.toggle("chosen", i === this.current);
      },
    });
    made.search.fixed("explorer", (_, __, i) => this.keep[i] === 1);
    made.on("order", () => this.remember());
    scrolls(table.closest(".dt-container"), "Table: every curve");
    narrow(made, e < 0 ? [] : [e]);
    return made;
  }

  /** Apply search and filters. */
  filter() {
    const value = (name) => this.filters.get(name)?.value.trim() ?? "";
    const tests = [];
    if (value("q")) tests.push(this.find(value("q")));
    for (const { name, texts, codes } of this.texts) {
      const code = texts.indexOf(this.filters.get(name)?.value);
      if (code >= 0 && value(name)) tests.push((i) => codes[i] === code);
    }
    const e = this.columns.find(({ name }) => name === "emergence_score");
    if (value("above") && e) tests.push((i) => e.order(i) > Number(value("above")));
    const q = this.columns.filter(({ name }) => name.endsWith("q_bh"));
    if (value("q-below")) tests.push((i) => q.some(({ order }) => order(i) >= 0 && order(i) <= Number(value("q-below"))));
    for (let i = 0; i < this.n; i++) this.keep[i] = tests.every((test) => test(i)) ? 1 : 0;
    this.table.draw();
    this.remember();
  }

  save() {
    const found = this.table.rows({ search: "applied", order: "applied" }).data().toArray();
    const rows = found.map(([i]) => this.columns.map((column) =>
      column.texts ? column.value(i) : column.numbers[i]));
    download("curves.csv", csvText([this.columns.map(({ name }) => name), ...rows]), "text/csv");
  }

  /** A curve's name in the address: the texts that tell it from all others of the study. */
  key(i) {
    return JSON.stringify(this.texts.filter(({ name }) => !["status", "counted", "metric_type"].includes(name))
      .map(({ value }) => value(i)));
  }

  /** Put the state into the address, unless it is being read from there. */
  remember() {
    if (this.reading || !this.table || inFrame) return;  // a frame has no address of its own
    const state = new URLSearchParams();
    for (const [name, input] of this.filters) if (input.value) state.set(name, input.value);
    const [order] = this.table.order();
    if (order) state.set("sort", `${this.columns[order[0]].name}:${order[1]}`);
    if (this.current !== undefined) state.set("curve", this.key(this.current));
    const text = state.toString();
    history.replaceState(null, "", text ? `#explorer?${text}` : "#explorer");
  }

  /** Take the state from the address. */
  restore() {
    if (!location.hash.startsWith("#explorer?")) return;
    this.reading = true;
    const state = new URLSearchParams(location.hash.slice("#explorer?".length));
    for (const [name, input] of this.filters) input.value = state.get(name) ?? "";
    const [name, direction] = (state.get("sort") ?? "").split(":");
    const column = this.columns.findIndex((one) => one.name === name);
    if (column >= 0) this.table.order([column, direction === "desc" ? "desc" : "asc"]);
    this.filter();
    const key = state.get("curve");
    for (let i = 0; key && i < this.n; i++) if (this.key(i) === key) { this.choose(i, false); break; }
    document.getElementById("explorer").scrollIntoView();
    this.reading = false;
  }

  async choose(i, look) {
    this.current = i;
    for (const row of this.table.rows().nodes().toArray()) row?.classList.toggle("chosen", Number(row.dataset.curve) === i);
    this.remember();
    const { outputs } = this.data;
    const alike = [];
    for (let k = 0; k < this.n; k++) if (outputs[k] === outputs[i]) alike.push(k);
    alike.sort((a, b) => (b === i) - (a === i));
    const name = this.texts.filter((column) => ["task", "subtask", "model_family", "shots", "variant"].includes(column.name)
      && column.value(i) !== "–")
      .map((column) => (column.name === "shots" ? `${column.value(i)} shots` : column.value(i))).join(", ");
    this.hint.textContent = `Shown below: ${name}, under ${alike.length} metric${alike.length === 1 ? "" : "s"}.`;
    const cards = alike.map((k) => this.card(k));
    this.chosen.replaceChildren(
      make("h3", { textContent: name }), ...cards.map(({ card }) => card),
      make("p", { className: "source", textContent: "Bars are two standard errors, where the size of the test set or a standard error is known. Dashed: the nearest smooth law (a power law of the loss, seen through this metric). Orange: the 95% forecast of the last score from the earlier ones." }));
    if (look) this.chosen.scrollIntoView({ block: "nearest" });
    await Promise.all(cards.map(({ start }) => start()));
  }

  points(i) {
    const { offsets, x, score, half, smooth, n, model } = this.data.points;
    return Array.from({ length: offsets[i + 1] - offsets[i] }, (_, place) => {
      const k = offsets[i] + place;
      const y = score.numbers[k];
      const error = half.numbers[k];
      return {
        model: model.texts[model.codes[k]], x: x.numbers[k], size: short(x.numbers[k]), score: y, n: n.numbers[k], smooth: smooth?.numbers[k] ?? null,
        low: error === null ? null : y - error, high: error === null ? null : y + error,
      };
    });
  }

  card(i) {
    const named = (name) => this.columns.find((column) => column.name === name)?.value(i);
    const fact = (name) => this.facts[name]?.value(i) ?? "–";
    const known = (name) => this.facts[name] && !["–", undefined].includes(this.facts[name].value(i));
    const title = named("metric");
    const list = make("dl");
    const say = (term, text) => list.append(make("dt", { textContent: term }), make("dd", { textContent: text }));
    say("type", named("metric_type"));
    say("E", named("emergence_score")
      + (known("emergence_low") ? ` [${fact("emergence_low")}, ${fact("emergence_high")}]` : ""));
    for (const column of this.columns) {
      if (["resolution_limited_score", "family_q_bh", "mechanism_q_bh", "status"].includes(column.name)) say(column.label, column.value(i));
    }
    if (known("n_examples_min")) say("questions", fact("n_examples_min"));
    if (known("trend")) say("shape", fact("trend"));
    if (known("wei_emergent")) say("Wei et al.", fact("wei_emergent"));
    if (known("forecast")) say("forecast", `${fact("forecast")} [${fact("forecast_low")}, ${fact("forecast_high")}]`);
    const points = this.points(i);
    const plot = make("div", { className: "plot", role: "img", tabIndex: 0, ariaLabel: `${title} against model scale, ${points.length} models; E ${named("emergence_score")}` });
    let view;
    const card = make("section", {}, make("h3", { textContent: title }), plot, list,
      figureTools("curve", () => view.toSVG(), () => view.toImageURL("png", 3),
        () => csvText([["model", "x", "score", "low", "high", "smooth", "n"],
          ...points.map((p) => [p.model, p.x, p.score, p.low, p.high, p.smooth, p.n])])));
    return { card, start: async () => { view = await draw(plot, this.spec(i, points)); } };
  }

  spec(i, points) {
    const axis = this.data.axis.texts[this.data.axis.codes[i]];
    const x = {
      field: "x", type: "quantitative", title: axis,
      scale: { type: "log", nice: false, padding: 8, reverse: this.data.falls[i] === 1 },
      axis: { format: "~s", grid: false, tickCount: 4, labelExpr: "replace(datum.label, 'G', 'B')" },
    };
    const y = (field) => ({ field, type: "quantitative", title: "score", scale: { zero: false } });
    const known = (field) => points.some((point) => point[field] !== null);
    const tooltip = ["model", "size", "score", "low", "high", "smooth", "n"].filter(known).map((field) => ({ field, title: field }));
    const layer = [];
    if (known("low")) {
      layer.push({
        transform: [{ filter: "isValid(datum.low)" }], mark: { type: "rule", strokeWidth: 1.3 },
        encoding: { y: y("low"), y2: { field: "high" }, color: { value: "#0072B2" } },
      });
    }
    if (known("smooth")) {
      layer.push({ mark: { type: "line", strokeWidth: 1.3, strokeDash: [5, 3] }, encoding: { y: y("smooth"), color: { value: "#767676" } } });
    }
    const number = (name) => this.facts[name]?.numbers[i];
    const last = points.at(-1);
    if (last && Number.isFinite(number("forecast"))) {
      const values = [{ x: last.x, size: last.size, model: `${last.model}, forecast`, score: number("forecast"), low: number("forecast_low"), high: number("forecast_high") }];
      const colour = { value: "#D55E00" };
      if (Number.isFinite(values[0].low) && Number.isFinite(values[0].high)) {
        layer.push({ data: { values }, mark: { type: "rule", strokeWidth: 5, opacity: 0.45 }, encoding: { x, y: y("low"), y2: { field: "high" }, color: colour, tooltip } });
      }
      layer.push({ data: { values }, mark: { type: "point", shape: "diamond", size: 50 }, encoding: { x, y: y("score"), color: colour, tooltip } });
    }
    layer.push(
      { mark: { type: "line", strokeWidth: 1.5 }, encoding: { y: y("score"), color: { value: "#0072B2" } } },
      { mark: { type: "point", filled: true, opacity: 1, size: 32 }, encoding: { y: y("score"), color: { value: "#0072B2" }, tooltip } });
    return {
      width: 225, height: 140, data: { values: points }, encoding: { x }, layer,
      config: { font: "Helvetica, Arial, sans-serif", background: "white", view: { stroke: null }, axis: { gridColor: "#E6E6E6" } },
    };
  }
}

// All of it -------------------------------------------------------------------------------------

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.closed = "yes";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-closed]")) {
    details.open = false;
    delete details.dataset.closed;
  }
});

document.documentElement.classList.toggle("frame", inFrame);
if (typeof DecompressionStream !== "undefined") {
  enhanceFigures();
  const [{ default: DataTable }, tables] = await Promise.all([program("datatables"), unpackJson("tables")]);
  DataTable.ext.errMode = "throw";  // not a window to be closed
  enhanceTables(DataTable, tables);
  const place = document.getElementById("explorer-app");
  if (place) window.explorer = new Explorer(DataTable, await unpackJson("curves"), place);
  // Tables have grown above what an address points at.
  if (/^#[\w-]+$/.test(location.hash)) document.querySelector(location.hash)?.scrollIntoView();
  document.documentElement.dataset.ready = "yes";
}
