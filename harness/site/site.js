// The overview: filter, sort, and one class of machines at a time. State lives in the fragment:
// #machine=1a2b3c4d&server=uvi&metric=p50&state=regression, or #series=ID&overlay=ID,ID&view=absolute

const FILTERS = ["machine", "server", "scenario", "metric", "state", "sort"];
const constants = JSON.parse($("#constants").textContent);
const form = $("#filters");
const machines = $$("#overview .machine");
const original = new Map(machines.map((it) => [it, $$(".overview tbody tr", it)]));
const tiles = $$(".tile");
const usual = $("#filters [name=metric] option").textContent; // the metric if none is asked for

function read() {
  const said = location.hash.slice(1);
  return said.includes("=") ? Object.fromEntries(new URLSearchParams(said)) : {};
}

let state = read();

// Each change is a place to come back to; typing a name replaces the last one.
function put(changes, replace = false) {
  const entries = Object.entries({ ...state, ...changes }).filter(([, value]) => value);
  state = Object.fromEntries(entries);
  const here = location.href.split("#")[0];
  const fragment = address(state);
  history[replace ? "replaceState" : "pushState"](null, "", fragment ? `${here}${fragment}` : here);
  show();
}

function address(of) {
  const fragment = new URLSearchParams(of).toString();
  return fragment && `#${fragment.replaceAll("%2C", ",")}`;
}

function show() {
  const graph = tiles.find((it) => it.dataset.series === state.series);
  for (const part of $$("main > section")) part.hidden = (part.id === "graph") !== Boolean(graph);
  if (graph) {
    document.dispatchEvent(new CustomEvent("graph", { detail: { tile: graph, state } }));
    return;
  }
  document.dispatchEvent(new CustomEvent("graph", { detail: null }));
  for (const name of FILTERS) {
    if (form.elements[name]) form.elements[name].value = state[name] ?? "";
  }
  if (form.elements.machine) form.elements.machine.value = machine();
  filter();
  sort();
}

function machine() {
  const known = machines.map((it) => it.dataset.machine);
  return known.includes(state.machine) ? state.machine : known[0];
}

// --- filter --------------------------------------------------------------------------------

function passes({ server, scenario, metric, state: its }) {
  const asked = state.metric ?? usual;
  return (!state.server || server.toLowerCase().includes(state.server.toLowerCase()))
    && (!state.scenario || scenario === state.scenario)
    && (asked === "all" || metric === asked)
    && (!state.state || its === state.state);
}

function filter() {
  let count = 0;
  let changed = 0;
  for (const part of $$(".machine")) part.hidden = part.dataset.machine !== machine();
  for (const part of machines) {
    $(".overview", part).classList.toggle("many", state.metric === "all");
    for (const row of original.get(part)) {
      for (const tile of $$(".tile", row)) {
        const { server, scenario } = { ...row.dataset, ...tile.parentElement.dataset };
        tile.hidden = !passes({ server, scenario, ...tile.dataset });
        count += !tile.hidden && !part.hidden;
      }
      row.hidden = !$$(".tile", row).some((tile) => !tile.hidden);
    }
    for (const cell of $$("[data-scenario]", part)) {
      cell.hidden = Boolean(state.scenario) && cell.dataset.scenario !== state.scenario;
    }
    $(".scroll", part).hidden = original.get(part).every((row) => row.hidden);
  }
  for (const part of $$("#alerts .machine")) {
    const rows = $$("tbody tr", part);
    for (const row of rows) row.hidden = !passes(state.metric ? row.dataset : { ...row.dataset, metric: usual });
    const seen = rows.filter((row) => !row.hidden).length;
    if ($(".scroll", part)) $(".scroll", part).hidden = !seen;
    if (!part.hidden) changed = rows.length ? seen : 1;
  }
  $("#count").textContent = `${count} series`;
  $("#nothing").hidden = count > 0;
  $("#unchanged").hidden = changed > 0;
}

// --- sort ----------------------------------------------------------------------------------

function sort() {
  const orders = { "": urgency, server: (row) => row.dataset.server };
  const order = orders[state.sort ?? ""] ?? ((row) => merit(row, Number(state.sort)));
  for (const [part, rows] of original) {
    const keys = new Map(rows.map((row) => [row, order(row)]));
    $(".overview tbody", part).append(...rows.toSorted((a, b) => compare(keys.get(a), keys.get(b))));
  }
}

function urgency(row) {
  return Math.min(...$$(".tile:not([hidden])", row).map((it) => Number(it.dataset.rank)));
}

// The newest value in a column, so that less is better; what has none comes last.
function merit(row, column) {
  const head = $$("#filters [name=sort] option").find((it) => it.value === String(column));
  const cell = $$("td", row).find((it) => head?.textContent.endsWith(` ${it.dataset.scenario}`));
  const tile = cell && $(".tile:not([hidden])", cell);
  if (tile?.dataset.value === undefined) return Infinity;
  return tile.dataset.more === "1" ? -Number(tile.dataset.value) : Number(tile.dataset.value);
}

function compare(x, y) {
  if (typeof x === "string") return x.localeCompare(y, "en", { numeric: true });
  return x === y ? 0 : x < y ? -1 : 1;
}

// --- begin ---------------------------------------------------------------------------------

for (const link of $$(".tile a, .changes a")) {
  const { series } = link.closest("[data-series]").dataset;
  link.href = `#series=${series}`;
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    put({ series });
    scrollTo(0, 0);
  });
}
// The links to the page's parts leave the state as it is.
for (const link of $$("nav a[href^='#'], .skip")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    if (state.series && link.hash !== "#main") leave();
    const part = $(link.hash);
    part.tabIndex = -1;
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  });
}

function leave() {
  put({ series: "", overlay: "", view: "", last: "", run: "" });
}

$("#back").addEventListener("click", (event) => {
  event.preventDefault();
  const { series } = state;
  leave();
  tiles.find((it) => it.dataset.series === series)?.querySelector("a").focus();
});
form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => put({ [target.name]: target.value }, target.name === "server"));
form.addEventListener("reset", (event) => {
  event.preventDefault();
  put({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), machine: state.machine });
});
addEventListener("popstate", () => { state = read(); show(); });
addEventListener("hashchange", () => { state = read(); show(); });
