// The page: which methods are switched on, which axis is shown, and tables that sort.

const data = JSON.parse(document.getElementById("data").textContent);
const on = new Set(data.methods.flatMap((method, i) => (method.on ? [i] : [])));
const views = [], presses = [], redraw = [];
let kind = data.kind;

document.documentElement.classList.add("scripted");

function update() {
  for (const view of views) view();
  for (const [button, i] of presses) button.setAttribute("aria-pressed", on.has(i));
  for (const button of document.querySelectorAll("button[data-kind]")) {
    button.setAttribute("aria-pressed", button.dataset.kind === kind);
  }
}

function switchTo(chosen) {
  on.clear();
  data.methods.forEach((method, i) => { if (chosen(method)) on.add(i); });
  update();
}

function legend(label) {
  const groups = [...new Set(data.methods.map((method) => method.group))];
  const bar = node("div", { class: "controls legend", role: "group", "aria-label": label });
  for (const group of groups) {
    const holder = node("div", { class: "group" });
    if (groups.length > 1) holder.append(node("span", { text: group === "main" ? "methods" : `${group}s` }));
    data.methods.forEach((method, i) => {
      if (method.group !== group) return;
      const press = () => { if (!on.delete(i)) on.add(i); update(); };
      const button = node("button", { type: "button", "data-method": method.name, click: press },
        swatch(method, i), method.label);
      presses.push([button, i]);
      holder.append(button);
    });
    bar.append(holder);
  }
  return bar;
}

function shortcuts() {
  const base = (method) => method.name === "zopro";
  const choices = [["all", () => true], ["none", () => false]];
  if (data.methods.some((method) => method.group !== "main")) {
    choices.unshift(["methods only", (method) => method.group === "main"],
      ["ablations only", (method) => method.group !== "main" || base(method)]);
  }
  return node("div", { class: "group" }, node("span", { text: "show" }),
    ...choices.map(([text, chosen]) => node("button", { type: "button", text, click: () => switchTo(chosen) })));
}

function axisButtons() {
  return node("div", { class: "group" }, node("span", { text: "against" }), ...data.axes.map((axis) => node("button", {
    type: "button", "data-kind": axis.kind, text: axis.button,
    click: () => { kind = axis.kind; update(); },
  })));
}

function buildCurves(section) {
  const { task, title } = section.dataset;
  const figure = node("div", { class: "figure" });
  section.append(node("div", { class: "controls" }, axisButtons(), shortcuts()),
    legend(`${title}: methods shown`), figure);
  const render = curveChart(figure, title, data.levels[task]);
  views.push(() => {
    const axis = data.axes.find((entry) => entry.kind === kind);
    render(data.curves[task][kind].filter((curve) => on.has(curve.method)), axis, data.methods);
  });
}

function buildScores(holder) {
  const panels = node("div", { class: "panels" });
  holder.append(node("h3", { text: data.scores.title }), node("p", { class: "notes", text: data.scores.note }), panels);
  const charts = data.scores.panels.map((panel) => scoreChart(panel, data.methods));
  panels.append(...charts.map((chart) => chart.holder));
  for (const chart of charts) chart.render(); // after all are in place: a panel is as wide as its neighbours leave it
  redraw.push(...charts.map((chart) => chart.render));
}

function buildSamples(section) {
  const seeds = data.samples[section.dataset.task];
  if (!seeds) {
    section.append(node("p", { class: "empty", text: "The runs of this task hold no samples." }));
    return;
  }
  const show = sampleView(section, seeds, data.methods);
  views.push(() => show(on));
}

function sortBy(table, column, header) {
  const down = header.getAttribute("aria-sort") === "descending";
  const cell = (row) => row.cells[column];
  const rows = [...table.tBodies[0].rows];
  const number = (row) => (cell(row).dataset.sort === undefined ? null : Number(cell(row).dataset.sort));
  const numeric = rows.some((row) => number(row) !== null);
  // Numbers begin with the largest, words with A.
  const direction = header.hasAttribute("aria-sort") ? (down ? 1 : -1) : (numeric ? -1 : 1);
  rows.sort((a, b) => {
    const [left, right] = [number(a), number(b)];
    if (left !== null && right !== null) return direction * (left - right);
    if (left !== null || right !== null) return left === null ? 1 : -1;
    return (numeric ? 1 : direction) * cell(a).textContent.localeCompare(cell(b).textContent, "en");
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = node("button", { type: "button", click: () => sortBy(table, column, header) }, ...header.childNodes);
    header.append(button);
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
buildScores(document.getElementById("scores"));
document.querySelectorAll(".chart").forEach(buildCurves);
document.querySelectorAll(".completions").forEach(buildSamples);
document.querySelector("#samples .completions")?.before(legend("Methods whose completions are shown"));
update();

let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  for (const chart of redraw) chart();
  update();
});
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
