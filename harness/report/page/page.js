// What the page can do beyond being read: sort, filter, details, theme, downloads.
// Without it all is there, in the order of the ranking. State lives in the fragment:
// #server=uvi&scenario=hello&sort=-p99_s&cell=hello-uvicorn-asgi-1w-32u

const FILTERS = ["server", "app", "scenario", "speaks", "verdict"];
const table = $("#ranked");
const form = $("#filters");
const dialog = $("#detail");
const cells = $("#cells");
const rows = table ? $$("tr.cell", table) : [];
const bodies = table ? [...table.tBodies] : [];
const original = new Map(bodies.map((body) => [body, $$("tr.cell", body)]));
const count = $("#count");

// --- state ---------------------------------------------------------------------------------

function read() {
  const said = location.hash.slice(1);
  return said.includes("=") ? Object.fromEntries(new URLSearchParams(said)) : {};
}

let state = read();

// Each change is a place to come back to; typing a name replaces the last one.
function put(changes, replace = false) {
  const entries = Object.entries({ ...state, ...changes }).filter(([, value]) => value);
  state = Object.fromEntries(entries);
  const fragment = new URLSearchParams(state).toString();
  const here = location.href.split("#")[0];
  history[replace ? "replaceState" : "pushState"](null, "", fragment ? `${here}#${fragment}` : here);
  show();
}

function show() {
  if (table) {
    filter();
    sort();
  }
  open(state.cell);
}

addEventListener("popstate", restore);
addEventListener("hashchange", restore);

function restore() {
  state = read();
  for (const name of FILTERS) if (form?.elements[name]) form.elements[name].value = state[name] ?? "";
  show();
}

// --- filter --------------------------------------------------------------------------------

function passes(row) {
  return FILTERS.every((name) => {
    const asked = state[name];
    if (!asked) return true;
    if (name === "server") return row.dataset.server.toLowerCase().includes(asked.toLowerCase());
    return row.dataset[name] === asked;
  });
}

let filtered = "";

function filter() {
  for (const row of rows) row.hidden = !passes(row);
  for (const body of bodies) body.hidden = original.get(body).every((row) => row.hidden);
  const shown = rows.filter((row) => !row.hidden);
  const all = shown.length === rows.length;
  count.textContent = all ? `${rows.length} rows` : `${shown.length} of ${rows.length} rows`;
  $("#nothing").hidden = shown.length > 0;
  table.parentElement.hidden = shown.length === 0;
  if ($("#figures-filtered")) $("#figures-filtered").hidden = all;
  const key = shown.map((row) => row.dataset.id).join();
  if (key === filtered) return; // figures are drawn anew only where it matters
  filtered = key;
  const names = new Map();
  for (const { dataset } of all ? [] : shown) {
    if (!names.has(dataset.scenario)) names.set(dataset.scenario, new Set());
    names.get(dataset.scenario).add(dataset.contender);
  }
  filterBeside(new Set(shown.map((row) => row.dataset.id)), names, all);
  document.dispatchEvent(new CustomEvent("filtered", { detail: all ? null : names }));
}

// Findings of the cells that are shown, and comparisons of them with whomever.
function filterBeside(ids, names, all) {
  const findings = $$("#findings li");
  for (const line of findings) {
    line.hidden = !all && !line.dataset.cells.split(" ").some((id) => ids.has(id));
  }
  for (const part of $$("#findings > div")) part.hidden = !$("li:not([hidden])", part);
  const compared = $$("#differences tbody tr");
  for (const line of compared) {
    const { scenario, a, b } = line.dataset;
    line.hidden = !all && ![a, b].some((name) => names.get(scenario)?.has(name));
  }
  say($("[data-filtered=findings]"), findings);
  say($("[data-filtered=comparisons]"), compared);
  const table = $("#differences .scroll");
  if (table) table.hidden = compared.every((line) => line.hidden);
}

// How many of the lines the filter lets through.
function say(place, lines) {
  if (!place) return;
  const shown = lines.filter((line) => !line.hidden).length;
  const what = place.dataset.filtered;
  place.hidden = shown === lines.length;
  place.textContent = shown === 0
    ? `None of the ${lines.length} ${what} is of what the filter above lets through.`
    : `${shown} of ${lines.length} ${what}: only of what the filter above lets through.`;
}

// --- sort ----------------------------------------------------------------------------------

const heads = table ? $$("thead th", table) : [];

function sort() {
  const asked = state.sort ?? "";
  const down = asked.startsWith("-");
  const place = heads.findIndex((head) => head.dataset.name === asked.replace("-", ""));
  heads.forEach((head, at) => {
    head.ariaSort = at !== place ? "none" : down ? "descending" : "ascending";
  });
  for (const [body, list] of original) {
    const sorted = place < 0 ? list : list.toSorted((a, b) => compare(a, b, place, down));
    body.append(...sorted);
  }
  if (place >= 0) clear(heads[place]);
}

// --- the column that stays -----------------------------------------------------------------

// Names stay at the left while figures pass beneath. A column that is looked for must not be half
// covered by them: "59.1 ms" would read "9.1 ms".
const fixed = heads.find((head) => head.dataset.name === "server");

function clear(head) {
  if (!head || head === fixed) return;
  const box = table.parentElement;
  const edge = fixed.getBoundingClientRect().right;
  const { left, right } = head.getBoundingClientRect();
  const end = box.getBoundingClientRect().left + box.clientLeft + box.clientWidth;
  if (left < edge - 0.5 || right > end + 0.5) box.scrollLeft += left - edge;
}

for (const box of $$(".scroll")) {
  box.addEventListener("scroll", () => box.classList.toggle("scrolled", box.scrollLeft > 0));
}
if (table) {
  const measure = () => table.parentElement.style.setProperty("--fixed", `${fixed.offsetWidth}px`);
  new ResizeObserver(measure).observe(fixed);
}

// What is missing comes last, however it is sorted.
function compare(a, b, place, down) {
  const [x, y] = [a, b].map((row) => row.cells[place].dataset.value);
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  const numbers = heads[place].classList.contains("number") || heads[place].dataset.name === "slots";
  const order = numbers ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
  return down ? -order : order;
}

// First the good end of a column, then the other, then the ranking's own order.
function next(name) {
  const turns = name === "throughput_per_s" || name === "relative_share"
    ? [`-${name}`, name, ""] : [name, `-${name}`, ""];
  return turns[(turns.indexOf(state.sort ?? "") + 1) % turns.length];
}

for (const head of heads) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => put({ sort: next(head.dataset.name) }));
  // by the mouse it is in view, and must not move away before the click
  button.addEventListener("focus", () => button.matches(":focus-visible") && clear(head));
}

// --- a cell's details ----------------------------------------------------------------------

let opener = null;

function open(id) {
  const article = id ? document.getElementById(`cell=${id}`) : null;
  const body = $(".body", dialog);
  if (article?.parentElement === body) return;
  if (body.firstElementChild) cells.append(body.firstElementChild);
  if (article) {
    body.append(article);
    dialog.setAttribute("aria-labelledby", `title=${id}`);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    $("h3", article).focus({ preventScroll: true });
  } else if (dialog.open) {
    dialog.close();
  }
}

dialog.addEventListener("close", () => {
  const id = state.cell;
  if (id) put({ cell: "" });
  const row = rows.find((it) => it.dataset.id === id);
  (opener ?? (row && $("th a", row)))?.focus();
  opener = null;
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

for (const row of rows) {
  const link = $("th a", row);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    opener = link;
    put({ cell: row.dataset.id });
  });
}

// The links to the page's parts leave the state as it is.
for (const link of $$("nav a, .skip")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const part = $(link.hash);
    part.tabIndex = -1;
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  });
}

// --- downloads -----------------------------------------------------------------------------

function wholeTable() {
  const spread = (head) => ("spread" in head.dataset ? ["", "_low", "_high"] : [""]);
  const names = heads.flatMap((head) => spread(head).map((end) => head.dataset.name + end));
  const lines = [...original.values()].flat().map((row) => {
    const found = heads.flatMap((head, at) => {
      const { value, low, high } = row.cells[at].dataset;
      const numeric = head.classList.contains("number") || head.dataset.name === "slots";
      const values = "spread" in head.dataset ? [value, low, high] : [value];
      return numeric ? values.map((it) => (it === undefined ? it : Number(it))) : values;
    });
    return [row.dataset.scenario, ...found];
  });
  return [["scenario", ...names], ...lines];
}

async function unpacked() {
  const packed = Uint8Array.from(atob($("#document").textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(stream).arrayBuffer()], { type: "application/json" });
}

const run = $(".brand span").textContent;
const downloads = {
  csv: () => saveCsv(run, wholeTable()),
  json: async () => save(`${run}.json`, await unpacked()),
};
for (const button of $$("[data-download]")) {
  button.addEventListener("click", downloads[button.dataset.download]);
}

// --- begin ---------------------------------------------------------------------------------

if (cells) cells.hidden = true;
for (const part of $$("#results > .downloads")) part.hidden = false;
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => put({ [target.name]: target.value }, target.name === "server"));
  const all = Object.fromEntries([...FILTERS, "sort"].map((name) => [name, ""]));
  form.addEventListener("reset", () => put(all));
}
restore();
