// Draws each figure when it comes into view; its data stand beside it as JSON.
// Told by events of the document: "themed", and "filtered" with a Map from scenario to names.

const figures = [...document.querySelectorAll("figure.chart")];
const views = new Map(); // of the figures that are drawn
const known = new Map(); // their JSON, once it is read
let wanted = null; // the names that the filter lets through, by scenario; null is all

function dataOf(figure) {
  if (!known.has(figure)) {
    known.set(figure, JSON.parse(figure.querySelector("script").textContent));
  }
  return known.get(figure);
}

function isDark() {
  return getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
}

function records({ columns, rows }) {
  return rows.map((row) => {
    const pairs = columns.map((name, at) => [name, row[at]]);
    return Object.fromEntries(pairs.filter(([, value]) => value !== null));
  });
}

// The names of a figure that are to be drawn; null is all. A cell's own figures are not filtered.
function namesFor(figure) {
  if (!wanted || figure.closest(".detail")) return null;
  return wanted.get(figure.dataset.scenario) ?? new Set();
}

function specOf(figure) {
  const data = dataOf(figure);
  const spec = structuredClone(data.spec);
  if (isDark()) {
    for (const [path, value] of data.dark) {
      const last = path.at(-1);
      path.slice(0, -1).reduce((part, step) => part[step], spec)[last] = value;
    }
  }
  const names = namesFor(figure);
  spec.datasets = {};
  for (const [name, table] of Object.entries(data.datasets)) {
    const rows = records(table);
    const keep = (row) => !names || !(data.group in row) || names.has(row[data.group]);
    spec.datasets[name] = rows.filter(keep);
  }
  return spec;
}

async function draw(figure) {
  const plot = figure.querySelector(".plot");
  // undefined: not begun. A promise: whoever asks meanwhile waits for the same drawing.
  if (!views.has(figure)) {
    // eval is forbidden here: `ast` has expressions interpreted
    const options = { actions: false, renderer: "svg", ast: true, defaultStyle: false, logLevel: 1,
                      tooltip: { disableDefaultStyle: true } };
    views.set(figure, window.vegaEmbed(plot, specOf(figure), options));
  }
  return views.get(figure);
}

async function forget(figure) {
  const drawn = views.get(figure);
  views.delete(figure);
  if (drawn) (await drawn).finalize();
}

async function redraw(figure) {
  if (!views.has(figure)) return;
  const plot = figure.querySelector(".plot");
  plot.style.minHeight = `${plot.offsetHeight}px`; // so that the page does not jump
  await forget(figure);
  await draw(figure);
  plot.style.minHeight = "";
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) draw(target);
  },
  { rootMargin: "300px" },
);

function save(name, blob) {
  document.dispatchEvent(new CustomEvent("save", { detail: { name, blob } }));
}

async function download(figure, kind) {
  const { name, frame } = dataOf(figure);
  if (kind === "csv") {
    document.dispatchEvent(
      new CustomEvent("save-csv", { detail: { name, table: [frame.columns, ...frame.rows] } }),
    );
    return;
  }
  const { view } = await draw(figure);
  if (kind === "svg") {
    save(`${name}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
  } else {
    const canvas = await view.toCanvas(2);
    canvas.toBlob((blob) => save(`${name}.png`, blob));
  }
}

// The figure's data as a table, made when it is asked for.
function fill(details, figure) {
  if (details.querySelector("table")) return;
  const { heads, frame } = dataOf(figure);
  const box = details.appendChild(document.createElement("div"));
  const table = box.appendChild(document.createElement("table"));
  Object.assign(box, { className: "scroll tall", tabIndex: 0, role: "region" });
  table.createCaption().textContent = figure.querySelector("figcaption > *").textContent;
  box.ariaLabel = table.caption.textContent;
  const head = table.createTHead().insertRow();
  for (const name of frame.columns) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    cell.textContent = heads[name] ?? name;
  }
  const body = table.createTBody();
  for (const row of frame.rows) {
    const line = body.insertRow();
    for (const value of row) {
      const cell = line.insertCell();
      cell.textContent = typeof value === "number" ? value.toLocaleString("en", { maximumSignificantDigits: 5 }) : (value ?? "–");
      if (typeof value === "number") cell.className = "number";
    }
  }
}

for (const figure of figures) {
  for (const part of figure.querySelectorAll("details.data, .downloads")) part.hidden = false;
  const details = figure.querySelector("details.data");
  details.addEventListener("toggle", () => details.open && fill(details, figure));
  for (const button of figure.querySelectorAll("[data-chart]")) {
    button.addEventListener("click", () => download(figure, button.dataset.chart));
  }
  watcher.observe(figure);
}

document.addEventListener("themed", () => figures.forEach(redraw));
document.addEventListener("filtered", ({ detail }) => {
  wanted = detail;
  for (const figure of figures) {
    if (figure.closest(".detail, #cells")) continue;
    const names = namesFor(figure);
    figure.hidden = Boolean(names) && names.size === 0;
    redraw(figure);
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(redraw));
addEventListener("beforeprint", () => {
  for (const figure of figures) if (!figure.closest("#cells, dialog:not([open])")) draw(figure);
});
