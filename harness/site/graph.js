// One series closely: its graph, others laid over it, the run behind a point, downloads. Data come
// as scripts, because a page from a file may load nothing else; each calls gatebench(name, value).

const section = $("#graph");
const views = $("#views");
const waiting = new Map(); // scripts asked for: a promise each
const arrived = new Map(); // what they brought
const PLACE = Object.fromEntries(constants.point.map((name, at) => [name, at]));
window.gatebench = (name, value) => arrived.set(name, value);
let current = null; // { topic, runs, shown, state } of what is drawn
let drawing = null; // the view, or a promise of it
let turn = 0; // the newest drawing holds
let painted = null; // what the plot shows; null while it is drawn, and if it could not be

// --- data ----------------------------------------------------------------------------------

function script(path) {
  if (!waiting.has(path)) {
    waiting.set(path, new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = path;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${path} is missing: copy the whole folder of the site`));
      document.head.append(element);
    }));
  }
  return waiting.get(path);
}

async function data(name) {
  await script(`data/${name}.js`);
  return arrived.get(name);
}

function records(points) {
  return points.map((point) => Object.fromEntries(constants.point.map((name, at) => [name, point[at]])));
}

// A series as it is to be shown: as a ratio if it is one, unless figures as measured are asked for.
function told(series, absolute) {
  const measured = absolute && series.absolute;
  const part = measured || series;
  return {
    series, absolute: Boolean(measured) || !series.reference,
    points: records(part.points), events: part.events,
    segments: measured ? [] : series.segments, changes: measured ? [] : series.changes,
    suspect: !measured && series.state === "suspect",
  };
}

// Colours as everywhere: each name asks for its own, and gets the next if an earlier one has it.
function styled(shown) {
  const hues = constants.themes.light.hues.length;
  let free = [];
  shown.forEach((it, place) => {
    if (!free.length) free = [...Array(hues).keys()];
    const away = (hue) => (hue - it.series.hue + hues) % hues;
    const hue = free.reduce((best, other) => (away(other) < away(best) ? other : best));
    free.splice(free.indexOf(hue), 1);
    const round = hue + Math.floor(place / hues);
    it.style = { hue, shape: constants.shapes[round % constants.shapes.length],
                 dash: constants.dashes[round % constants.dashes.length] };
  });
  return shown;
}

// --- numbers -------------------------------------------------------------------------------

const digits = (value, most) => value.toLocaleString("en", { maximumSignificantDigits: most });

function written(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s") {
    const [factor, name] = value < 1e-3 ? [1e6, "µs"] : value < 1 ? [1e3, "ms"] : [1, "s"];
    return `${digits(value * factor, 4)} ${name}`;
  }
  if (unit === "bytes") return `${digits(value / 2 ** 20, 4)} MiB`;
  return unit === "/s" ? `${digits(value, 5)}/s` : `${digits(value, 4)}×`;
}

const percent = (ratio) => `${ratio < 1 ? "-" : "+"}${Math.abs((ratio - 1) * 100).toFixed(1)}%`;
const unitOf = (it) => (it.absolute ? current.topic.unit : "");
const day = (at) => at.slice(0, 10);

function about(change) {
  const size = change.interval ? ` (${change.interval.map(percent).join(" to ")})` : "";
  return `${percent(change.ratio)}${size}`;
}

const HALF_DAY = 12 * 3600 * 1000;

// --- drawing -------------------------------------------------------------------------------

function rows(it) {
  const { runs } = current;
  return it.points.map((point, at) => ({
    name: it.series.name, ...point, x: Date.parse(runs[point.run].at),
    hollow: it.suspect && at === it.points.length - 1,
    tip: {
      "": it.series.name, run: runs[point.run].name, value: written(point.value, unitOf(it)),
      ...(point.low !== null && { from: written(point.low, unitOf(it)), to: written(point.high, unitOf(it)) }),
      ...(point.gap ? { "no value": point.gap } : { blocks: point.blocks }),
    },
  }));
}

// Runs whose intervals are wide do not make the others flat: these are cut off at the edges.
function reach(points) {
  const values = points.map((it) => it.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.25 * (high - low), 0.02 * high);
  return [Math.max(0, low - room), high + room];
}

function specification() {
  const { shown, topic, last } = current;
  const [main] = shown;
  const colours = constants.themes[dark() ? "dark" : "light"];
  const moments = [...new Set(shown.flatMap((it) => rows(it).map((row) => row.x)))].sort((a, b) => a - b).slice(-last);
  const [begin] = moments;
  const edge = Math.max(0.01 * (moments.at(-1) - begin), HALF_DAY); // a single run is not a second wide
  const points = shown.flatMap(rows).filter((row) => row.x >= begin);
  const valued = points.filter((row) => row.value !== null);
  const own = rows(main);
  const names = shown.map((it) => it.series.name);
  const scale = (range) => ({ domain: names, range });
  const colour = { field: "name", type: "nominal", scale: scale(shown.map((it) => colours.hues[it.style.hue])),
                   legend: names.length > 1 ? { title: null, orient: "bottom", labelLimit: 260, symbolOpacity: 1 } : null };
  const x = { field: "x", type: "temporal", title: null, scale: { type: "utc", nice: false },
              axis: { grid: false, tickCount: { expr: "max(2, floor(width / 110))" }, labelOverlap: true } };
  const number = (main.absolute ? topic.format : constants.ratio).replaceAll("V", "datum.value");
  const title = main.absolute ? topic.axis : `${topic.axis}, ratio to ${main.series.reference}`;
  const y = { field: "value", type: "quantitative", title,
              scale: { zero: false, nice: false, domain: valued.length ? reach(valued) : [0, 1] },
              axis: { tickCount: 5, labelExpr: number, ...(!valued.length && { values: [] }) } };
  const tooltip = { expr: "datum.tip" };
  const line = (end) => ({ field: end, type: "quantitative" });
  const inside = (row) => row.x >= begin;
  const changes = main.changes.map((it) => ({
    x: own[it.point].x, size: percent(it.ratio), settled: it.settled,
    tip: { "": it.kind, size: about(it), since: own[it.point].tip.run, what: it.text, ...(!it.settled && { provisional: "more runs may move it" }) },
  })).filter(inside);
  const events = main.events.map(([at, kind, text]) => ({ x: own[at].x, kind, tip: { "": kind, run: own[at].tip.run, what: text } })).filter(inside);
  const levels = main.segments.filter(([, to]) => own[to].x >= begin)
    .flatMap(([from, to, value], level) => [Math.max(begin, own[from].x), own[to].x].map((at) => ({ x: at, value, level })));
  const gaps = points.filter((row) => row.value === null);
  const none = (of, layer) => (of.length ? [layer] : []);
  const values = (of) => ({ values: of });
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: $("#graph-title").textContent,
    width: "container", height: 320, autosize: { type: "fit-x", contains: "padding" },
    config: colours.config,
    layer: [
      { data: values([{ x: begin - edge }, { x: moments.at(-1) + edge }]), mark: { type: "rule", opacity: 0 }, encoding: { x } },
      ...none(main.absolute ? [] : [1], { data: values([{ value: 1 }]), mark: { type: "rule", strokeWidth: 0.8, color: colours.quiet, clip: true, strokeDash: [1, 2] }, encoding: { y } }),
      ...none(events, { data: values(events), mark: { type: "rule", color: colours.quiet, opacity: 0.8 },
        encoding: { x, strokeDash: { field: "kind", type: "nominal", legend: null, scale: { domain: ["version", "environment"], range: [[6, 3], [1, 3]] } } } }),
      { data: values(valued.filter((row) => row.low !== null)), mark: { type: "rule", clip: true, opacity: 0.35 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: colour } },
      { data: values(valued), mark: { type: "line", strokeWidth: 1, opacity: 0.45 }, encoding: { x, y, color: colour } },
      ...none(levels, { data: values(levels), mark: { type: "line", strokeWidth: 2, strokeCap: "square", color: colours.text }, encoding: { x, y, detail: { field: "level", type: "nominal" } } }),
      ...none(changes, { data: values(changes), mark: { type: "rule", color: colours.text }, encoding: { x, strokeDash: { condition: { test: "datum.settled", value: [1, 0] }, value: [4, 3] } } }),
      // on top of the lines, which would catch what is pointed at them
      { data: values(valued), mark: { type: "point", size: valued.length > 300 ? 16 : 34, strokeWidth: 1.4, opacity: 1, cursor: "pointer", tooltip },
        encoding: { x, y, stroke: colour, shape: { field: "name", type: "nominal", scale: scale(shown.map((it) => it.style.shape)), legend: colour.legend },
          fill: { condition: { test: "datum.hollow", value: colours.background }, ...colour },
          size: { condition: { test: "datum.hollow", value: 110 }, value: valued.length > 300 ? 16 : 34 } } },
      ...none(gaps, { data: values(gaps), mark: { type: "point", shape: constants.cross, size: 60, strokeWidth: 1.6, opacity: 1, cursor: "pointer", tooltip }, encoding: { x, y: { value: { expr: "height - 9" } }, stroke: colour } }),
      ...none(changes, { data: values(changes), mark: { type: "text", align: "left", dx: 5, dy: 9, color: colours.text, fontSize: 11 }, encoding: { x, y: { value: 0 }, text: { field: "size" } } }),
      ...none(changes, { data: values(changes), mark: { type: "point", shape: "triangle-down", filled: true, size: 110, opacity: 1, color: colours.text, tooltip }, encoding: { x, y: { value: 0 } } }),
      ...none(events, { data: values(events), mark: { type: "point", shape: "diamond", filled: true, size: 90, opacity: 1, color: colours.quiet, tooltip }, encoding: { x, y: { value: { expr: "height" } } } }),
    ],
  };
}

async function draw() {
  const mine = ++turn;
  painted = null;
  await script("vega.js");
  if (mine !== turn) return;
  const plot = $(".plot", section);
  const old = drawing;
  const wanted = current.drawn;
  delete plot.dataset.ready;
  // eval is forbidden here: `ast` has expressions interpreted
  drawing = window.vegaEmbed(plot, specification(), { actions: false, renderer: "svg", ast: true,
    defaultStyle: false, logLevel: 1, tooltip: { disableDefaultStyle: true } });
  if (old) (await old).finalize();
  const { view } = await drawing;
  view.addEventListener("click", (event, item) => {
    if (item?.datum?.run !== undefined) put({ run: current.runs[item.datum.run].name });
  });
  if (mine !== turn) return;
  painted = wanted;
  plot.dataset.ready = ""; // for whoever waits until points can be clicked
}

// --- texts ---------------------------------------------------------------------------------

function element(name, text, parent, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

function list(parent, pairs) {
  const made = element("dl", "", parent);
  for (const [name, text, tag] of pairs.filter(([, text]) => text)) {
    element("dt", name, made);
    const shown = element("dd", tag ? "" : text, made);
    if (tag) element(tag, text, shown);
  }
}

function head() {
  const { shown: [main, ...others], topic } = current;
  const { series } = main;
  const load = `${topic.scenario} (${topic.load})`;
  $("#graph-title").textContent = `${series.name}: ${load}, ${topic.metric}`;
  const machine = $(`#overview [data-machine="${topic.machine}"] h2`).textContent;
  $("#about").textContent = `${series.about} · ${machine}`;
  const badge = $(".badge", current.tile).cloneNode(true);
  $("#state").replaceChildren(badge, series.note ? ` ${series.note}` : "");
  const count = main.points.filter((it) => it.value !== null).length;
  const what = main.absolute ? `${topic.axis}, as measured` : `${topic.axis}, ratio to ${series.reference} in the same run`;
  const why = !series.reference ? " It is the reference, or was measured without one."
    : main.absolute ? " The machine's own drift is in it, so no change is told of it." : "";
  const beside = others.length ? ` Laid over it: ${others.map((it) => it.series.name).join(", ")}.` : "";
  $("#says").textContent = `${what}: ${count} of ${main.points.length} runs have a value.${why}${beside} A point opens its run.`;
}

function controls() {
  const { shown: [main, ...others], topic, state } = current;
  const same = tiles.filter((it) => it.closest("tr") === current.tile.closest("tr") && it.parentElement === current.tile.parentElement);
  views.elements.metric.replaceChildren(...same.map((it) => new Option(it.dataset.metric, it.dataset.series, false, it === current.tile)));
  views.elements.view.value = main.absolute ? "absolute" : "";
  views.elements.view.disabled = !main.series.reference;
  views.elements.last.value = state.last ?? "";
  const over = new Set(others.map((it) => it.series.id));
  const focused = document.activeElement?.closest(".choices") && document.activeElement.value;
  $(".choices").replaceChildren(...topic.series.filter((it) => it !== main.series).map((it) => {
    const label = document.createElement("label");
    const box = element("input", "", label, { type: "checkbox", value: it.id });
    box.checked = over.has(it.id);
    // of the reference, and of what was measured without one, there is none
    box.disabled = !main.absolute && !it.reference;
    element("span", box.disabled ? `${it.name} (no ratio)` : it.name, label);
    return label;
  }));
  if (focused) $(`.choices [value="${focused}"]`)?.focus();
  $("#overlay").hidden = topic.series.length < 2;
  if (over.size) $("#overlay").open = true;
  for (const kind of ["svg", "png"]) $(`#drawn-${kind}`).href = `graphs/${main.series.slug}.${kind}`;
}

const CSV = ["series", "run", "at", "value", "low", "high", "blocks", "gap"];

function lines() {
  return current.shown.flatMap((it) => it.points.map((point) => [
    it.series.name, current.runs[point.run].name, current.runs[point.run].at,
    point.value, point.low, point.high, point.blocks, point.gap,
  ]));
}

function fill() {
  const details = $("#table");
  $(".scroll", details)?.remove();
  if (!details.open || !current) return;
  const box = element("div", "", details, { class: "scroll tall", role: "region", tabindex: "0", "aria-label": "The graph's data" });
  const table = element("table", "", box);
  table.createCaption().textContent = $("#says").textContent;
  const top = table.createTHead().insertRow();
  const unit = current.shown[0].absolute ? { "/s": "per second", s: "seconds", bytes: "bytes" }[current.topic.unit] : "ratio";
  for (const name of CSV) element("th", name === "value" ? `value (${unit})` : name, top, { scope: "col" });
  const body = table.createTBody();
  for (const line of lines()) {
    const row = body.insertRow();
    line.forEach((value, at) => {
      const cell = row.insertCell();
      if (typeof value === "number") cell.className = "number";
      const text = typeof value === "number" ? digits(value, 5) : (value ?? "–");
      if (CSV[at] === "run") element("button", text, cell, { type: "button" }).addEventListener("click", () => put({ run: value }));
      else cell.textContent = text;
    });
  }
}

function changes() {
  const mine = $$("#alerts tbody tr").filter((row) => row.dataset.series === current.shown[0].series.id);
  $("#changes").hidden = !mine.length || !current.shown[0].changes.length;
  if ($("#changes").hidden) return;
  const table = mine[0].closest("table").cloneNode(true);
  const copies = mine.map((row) => Object.assign(row.cloneNode(true), { hidden: false }));
  for (const link of copies.flatMap((row) => $$("a", row))) link.replaceWith(link.textContent);
  table.tBodies[0].replaceChildren(...copies);
  const box = element("div", "", null, { class: "scroll", role: "region", tabindex: "0", "aria-label": "Table of its changes" });
  box.append(table);
  $("#changes .body").replaceChildren(box);
}

function run() {
  const { runs, shown, topic, state } = current;
  const at = runs.findIndex((it) => it.name === state.run);
  $("#run").hidden = at < 0;
  if (at < 0) return;
  const it = runs[at];
  const body = $("#run .body");
  $("#run-title").textContent = `Run ${it.name}`;
  body.replaceChildren();
  const values = shown.flatMap((one) => one.points.filter((point) => point.run === at).map((point) => [
    one.series.name,
    point.value === null ? `no value: ${point.gap}` : written(point.value, unitOf(one))
      + (point.low === null ? "" : ` (${written(point.low, unitOf(one))} to ${written(point.high, unitOf(one))})`)
      + `, ${point.blocks} block${point.blocks === 1 ? "" : "s"}`,
  ]));
  const [point] = shown[0].points.filter((one) => one.run === at);
  const receipt = point && topic.receipts[point.receipt];
  list(body, [
    ...values, ["measured", it.at], ["ended", it.ended], ["gatebench", it.gatebench],
    ["command", it.command || "not recorded", "code"], ["trials", String(it.trials)],
    ...Object.entries(receipt?.conditions ?? {}).filter(([name]) => name !== "gatebench"),
    ["installed", Object.entries(receipt?.versions ?? {}).map((pair) => pair.join(" ")).join(", ")],
  ]);
}

// --- begin ---------------------------------------------------------------------------------

async function open({ tile, state }) {
  const mine = ++turn;
  try {
    const topic = await data(tile.dataset.topic);
    const runs = await data(topic.machine);
    if (mine !== turn) return;
    const main = topic.series.find((it) => it.id === state.series);
    const over = (state.overlay ?? "").split(",").map((id) => topic.series.find((it) => it.id === id));
    const absolute = state.view === "absolute" || !main.reference;
    const others = [...new Set(over)].filter((it) => it && it !== main && (absolute || it.reference));
    const shown = styled([main, ...others].map((it) => told(it, absolute)));
    const drawn = JSON.stringify([main.id, others.map((it) => it.id), absolute, state.last]);
    const another = current?.tile !== tile;
    if (another) $("#overlay").open = false;
    current = { topic, runs, tile, state, shown, last: Number(state.last) || 0, drawn };
    head();
    if (another) $("#graph-title").focus({ preventScroll: true });
    controls();
    run();
    if (painted !== drawn) {
      changes();
      fill();
      await draw();
    }
  } catch (error) {
    $("#graph-title").textContent = "This graph cannot be drawn";
    $("#says").textContent = error.message;
  }
}

document.addEventListener("graph", ({ detail }) => {
  if (detail) open(detail);
  else turn += 1;
});
document.addEventListener("themed", () => current && !section.hidden && draw());
system.addEventListener("change", () => current && !section.hidden && draw());
views.addEventListener("submit", (event) => event.preventDefault());
views.addEventListener("input", ({ target }) => {
  if (target.name === "metric") put({ series: target.value, overlay: "", run: "" });
  else if (target.type === "checkbox") {
    put({ overlay: $$(".choices input:checked").map((it) => it.value).join(",") });
  } else put({ [target.name]: target.value });
});
$("#table").addEventListener("toggle", fill);
for (const button of $$("[data-save]")) {
  button.addEventListener("click", async () => {
    const name = current.shown[0].series.slug;
    if (button.dataset.save === "csv") {
      saveCsv(name, [CSV, ...lines()]);
      return;
    }
    const { view } = await drawing;
    if (button.dataset.save === "svg") save(`${name}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    else (await view.toCanvas(2)).toBlob((blob) => save(`${name}.png`, blob));
  });
}
show();
