// What our pages share, put before each one's own script: the theme's button, downloads, copying.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// --- theme ---------------------------------------------------------------------------------

const theme = $("#theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
const pressed = () => theme.setAttribute("aria-pressed", String(dark()));

theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  try {
    localStorage.setItem("gatebench-theme", document.documentElement.dataset.theme);
  } catch {
    // then it is for this time only
  }
  pressed();
  document.dispatchEvent(new Event("themed"));
});
system.addEventListener("change", pressed);

theme.hidden = false;
pressed();

// --- downloads -----------------------------------------------------------------------------

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// A text that a spreadsheet would take as a formula is told from one by an apostrophe.
function field(value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv(name, lines) {
  const text = lines.map((line) => line.map(field).join(",")).join("\r\n");
  save(`${name}.csv`, new Blob([`${text}\r\n`], { type: "text/csv" }));
}

document.addEventListener("save", ({ detail }) => save(detail.name, detail.blob));
document.addEventListener("save-csv", ({ detail }) => saveCsv(detail.name, detail.table));

for (const button of navigator.clipboard ? $$("[data-copy]") : []) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText($("code", button.parentElement).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

