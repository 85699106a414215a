// The report: which methods are switched on, and which axis is shown.

const on = new Set(data.methods.flatMap((method, i) => (method.on ? [i] : [])));
const views = [], presses = [];
let kind = data.kind;

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

// The groups of the methods: of a crowd, its families.
const groups = [...new Set(data.methods.map((method) => method.group))];
const crowd = groups.length > 3;

// All other curves fade, or none does.
function highlight(name) {
  for (const curve of document.querySelectorAll(".chart .curve")) {
    curve.classList.toggle("faded", name !== null && curve.dataset.method !== name);
  }
}

function legend(label) {
  const bar = node("div", { class: "controls legend", role: "group", "aria-label": label });
  for (const group of groups) {
    const holder = node("div", { class: "group" });
    if (groups.length > 1) holder.append(node("span", { text: group }));
    data.methods.forEach((method, i) => {
      if (method.group !== group) return;
      const press = () => { if (!on.delete(i)) on.add(i); update(); };
      const button = node("button", { type: "button", "data-method": method.name, click: press },
        swatch(method, i), method.label);
      button.addEventListener("pointerenter", () => { if (on.has(i)) highlight(method.name); });
      button.addEventListener("pointerleave", () => highlight(null));
      presses.push([button, i]);
      holder.append(button);
    });
    bar.append(holder);
  }
  if (crowd) {
    bar.classList.add("short"); // only what is switched on
    const more = node("button", { type: "button", text: "choose methods", "aria-expanded": "false",
      click: () => more.setAttribute("aria-expanded", !bar.classList.toggle("short")) });
    bar.append(more);
  }
  return bar;
}

function shortcuts() {
  const choices = [["all", () => true], ["none", () => false]];
  for (const group of groups.length > 1 ? [...groups].reverse() : []) {
    const own = data.methods.filter((method) => method.group === group);
    const shown = new Set(own.flatMap((method) => [method.name, ...method.beside]));
    choices.unshift([crowd ? group : `${group} only`, (method) => shown.has(method.name)]);
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

function increase(value, step) {
  return signed(value, decimals(step));
}

// Mean over seeds as a line, its interval as a band, over `kind`, an entry of data.axes.
function curvePicture(title, level, curves, kind) {
  const values = curves.flatMap((curve) => [...(curve.low ?? []), ...(curve.high ?? []), ...curve.y]);
  const range = extent(values), end = Math.max(0, ...curves.flatMap((curve) => curve.x)) || 1;
  return {
    label: `${title}: reward increase against ${kind.title}`, steep: 4, empty: "No method is switched on.",
    across: axis([0, end], kind.title),
    up: axis(range, "validation reward increase [r₀ score]", { line: "gridline", text: increase }),
    series: curves.map((curve) => {
      const look = data.methods[curve.method], every = Math.max(1, Math.round((curve.x.length - 1) / 8));
      return { ...curve, look: curve.method, name: look.name, mark: (i) => (i % every ? null : [look, 8]),
        read: (i) => [look.label, [
          `${kind.button}: ${plain(curve.x[i], kind.digits)} ${kind.unit}`,
          `reward increase ${signed(curve.y[i])}`,
          curve.low ? `95 % interval${curve.sampled ? " of prompts" : ""} ${signed(curve.low[i])} to ${signed(curve.high[i])}` : "one seed, no interval",
          `n = ${curve.n}${curve.diverged ? `, ${curve.diverged} diverged: ends where the first run does` : ""}`]] };
    }),
    // Over the curves, so that its words stay readable.
    over(svg, x, y, left, right) {
      if (level === null || level >= range[1]) return;
      svg.append(draw("line", { x1: left, x2: right, y1: y(level), y2: y(level), class: "level" }),
        draw("text", { x: left + 6, y: y(level) - 5, class: "over", text: "reference level" }));
    },
  };
}

function buildCurves(section) {
  const { task, title } = section.dataset;
  const figure = node("div", { class: "figure" });
  section.append(node("div", { class: "controls" }, axisButtons(), shortcuts()),
    legend(`${title}: methods shown`), figure);
  const render = chart(figure, data.methods);
  views.push(() => render(curvePicture(title, data.levels[task],
    data.curves[task][kind].filter((curve) => on.has(curve.method)), data.axes.find((entry) => entry.kind === kind))));
}

// One row a method: every seed a dot, the summary a mark with its interval. A word has no place on the axis; it stands
// where the row begins.
function scorePicture({ title, unit, rows }) {
  const numbers = rows.flatMap((row) => [row.value, row.low, row.high, ...row.dots]).filter((value) => value !== null);
  const range = extent(numbers);
  return {
    label: title, height: 24 * rows.length + MARGIN.top + MARGIN.bottom, free: true, steep: 1000,
    across: axis(range, unit, { line: "gridline", text: increase }),
    up: axis([0.5 - rows.length, 0.5], "",
      { whole: true, count: rows.length, text: (i) => data.methods[rows[-i].method].label }),
    series: rows.map((row, i) => {
      const look = data.methods[row.method], known = row.value !== null;
      const words = row.low === null ? "" : ` (95 % interval ${signed(row.low)} to ${signed(row.high)})`;
      return { look: row.method, name: look.name, x: [known ? row.value : range[0]], y: [-i], plain: true,
        dots: row.dots.map((value) => [value, -i]), bar: row.low === null ? null : [row.low, row.high],
        mark: () => (known ? [look, 11] : null), note: () => row.word,
        read: () => [look.label, [known ? `${signed(row.value)}${words}, n = ${row.n}` : row.word]] };
    }),
  };
}

function buildScores(holder) {
  const { title, note, panels } = data.scores;
  const figures = panels.map(() => node("div", { class: "figure" }));
  holder.append(node("h3", { text: title }), node("p", { class: "notes", text: note }), node("div", { class: "panels" },
    ...figures.map((figure, i) => node("section", {}, node("h4", { text: panels[i].title }), figure))));
  const charts = figures.map((figure) => chart(figure, data.methods));
  redraw.push(() => charts.forEach((render, i) => render(scorePicture(panels[i]))));
  redraw[0]();
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

buildScores(document.getElementById("scores"));
document.querySelectorAll(".chart").forEach(buildCurves);
document.querySelectorAll(".completions").forEach(buildSamples);
document.querySelector("#samples .completions")?.before(legend("Methods whose completions are shown"));
update();
redraw.push(update);
