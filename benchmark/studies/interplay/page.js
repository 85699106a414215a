(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const one = (id) => document.getElementById(id);
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["sendDataToCloud"] };
const BAND = "#d9d9d9";
const LABELS = 12;

function options(select, names) {
  const before = select.value;
  select.replaceChildren(...names.map((name, i) => {
    const option = document.createElement("option");
    option.value = String(i);
    option.textContent = name;
    return option;
  }));
  if (before !== "" && Number(before) < names.length) select.value = before;
}

function layout(extra) {
  return Object.assign({ margin: { l: 55, r: 20, t: 45, b: 45 }, font: { size: 12 }, paper_bgcolor: "#fff",
    plot_bgcolor: "#fff", hovermode: "closest", legend: { orientation: "h", y: -0.12 } }, extra);
}

/* Trajectories */
function track(points, marks, who, deep) {
  const look = data.looks[who];
  const ends = new Map(marks.map((place, i) => [place, i]));
  const step = Math.max(1, Math.ceil((marks.length - 1) / LABELS));
  const last = points.length - 1;
  const trace = {
    type: deep ? "scatter3d" : "scatter", mode: "lines+markers+text", name: look.name,
    x: points.map((p) => p[0]), y: points.map((p) => p[1]),
    line: { color: look.colour, width: deep ? 4 : 2 },
    marker: {
      color: points.map((_, i) => (i === 0 ? "#fff" : look.colour)),
      line: { color: look.colour, width: 1.5 },
      size: points.map((_, i) => (deep ? 0.6 : 1) * (i === 0 || i === last ? 13 : ends.has(i) ? 8 : 3)),
      symbol: points.map((_, i) => (i === last ? (deep ? "diamond" : "star") : look.symbol)),
    },
    text: points.map((_, i) => {
      if (i === 0) return "start";
      if (i === last) return `end (${marks.length - 1})`;
      return ends.has(i) && ends.get(i) % step === 0 ? String(ends.get(i)) : "";
    }),
    textposition: "top center", textfont: { color: look.colour, size: 11 },
    hovertext: points.map((_, i) => `${look.name}, ` + (ends.has(i) ? `after iteration ${ends.get(i)}`
      : `within iteration ${marks.filter((m) => m < i).length}`)),
    hoverinfo: "text",
  };
  if (deep) trace.z = points.map((p) => p[2]);
  return trace;
}

function axisNames(found, method, dims) {
  return Array.from({ length: dims }, (_, i) => (found.explained
    ? `PC ${i + 1} (${Math.round(100 * found.explained[i])} %)` : `${method} ${i + 1}`));
}

function drawScene(id, picture, method, dims, key, title) {
  const found = picture.embeddings[key];
  const deep = dims === 3;
  const shown = found.policy[0].length;
  const names = axisNames(found, method, shown);
  const rewardMarks = found.reward.map((_, i) => i);
  const traces = [track(found.policy, picture.marks, "policy", deep), track(found.reward, rewardMarks, "reward", deep)];
  const axes = names.map((name) => ({ title: { text: name }, zeroline: false, gridcolor: "#e8ebef" }));
  const extra = { title: { text: title, font: { size: 14 } }, uirevision: key };
  if (deep) {
    extra.scene = { xaxis: axes[0], yaxis: axes[1], zaxis: axes[2],
      aspectmode: found.explained ? "data" : "cube" };
    extra.margin = { l: 0, r: 0, t: 45, b: 0 };
  } else {
    extra.xaxis = axes[0];
    extra.yaxis = Object.assign(axes[1], found.explained ? { scaleanchor: "x" } : {});
  }
  Plotly.react(one(id), traces, layout(extra), CONFIG);
}

function drawScenes() {
  const run = data.runs[Number(one("run").value)];
  const kinds = Object.keys(run.pictures);
  options(one("kind"), kinds);
  const picture = run.pictures[kinds[Number(one("kind").value)]];
  const methods = [...new Set(Object.keys(picture.embeddings).map((key) => key.split("|")[0]))];
  options(one("embedding"), methods);
  const method = methods[Number(one("embedding").value)];
  const dims = Number(one("dims").value);
  drawScene("scene", picture, method, dims, `${method}|${dims}`, run.label);
  drawScene("twin", picture, method, 2, `${method}|0`, "a random walk, in 2 dimensions");
}

/* Angles */
function drawAngles() {
  const task = data.tasks[Number(one("angle-task").value)];
  const kinds = Object.keys(task.angles);
  options(one("angle-kind"), kinds);
  const panels = task.angles[kinds[Number(one("angle-kind").value)]];
  const traces = [];
  const extra = { grid: { rows: 1, columns: panels.length, pattern: "independent" }, annotations: [],
    margin: { l: 55, r: 20, t: 65, b: 95 }, legend: { orientation: "h", y: -0.3 } };
  panels.forEach((panel, column) => {
    const suffix = column === 0 ? "" : String(column + 1);
    const place = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
    const wide = panel.x.length === 1 ? 0.4 : 0;
    const xs = wide ? [panel.x[0] - wide, panel.x[0] + wide] : panel.x;
    const stretch = (values) => (wide ? [values[0], values[0]] : values);
    traces.push({ ...place, x: xs, y: stretch(panel.low), mode: "lines", line: { width: 0, color: BAND },
      hoverinfo: "skip", showlegend: false });
    traces.push({ ...place, x: xs, y: stretch(panel.high), mode: "lines", fill: "tonexty", fillcolor: BAND,
      line: { width: 0, color: BAND }, hoverinfo: "skip", name: "95 % of chance", showlegend: column === 0 });
    panel.lines.forEach((line, i) => {
      const method = task.methods[i];
      const mark = { color: method.colour, symbol: method.symbol };
      traces.push({ ...place, x: line.dots.x, y: line.dots.y, mode: "markers", opacity: 0.45,
        marker: { ...mark, size: 5 }, showlegend: false, legendgroup: method.name,
        text: line.dots.seed.map((seed) => `${method.label}, seed ${seed}`), hovertemplate: "%{text}: %{y:.2f}°<extra></extra>" });
      traces.push({ ...place, x: line.x, y: line.y, mode: "lines+markers", line: { color: method.colour },
        marker: { ...mark, size: 8 }, name: method.label, legendgroup: method.name, showlegend: column === 0,
        hovertemplate: `${method.label}, iteration %{x}: %{y:.2f}°<extra></extra>` });
    });
    extra[`xaxis${suffix}`] = { title: { text: "iteration i" }, dtick: Math.max(1, Math.ceil(panel.x.length / 8)),
      gridcolor: "#e8ebef", zeroline: false };
    extra[`yaxis${suffix}`] = { ticksuffix: "°", gridcolor: "#e8ebef", zeroline: false };
    extra.annotations.push({ text: data.relations[column].replace(", ", ",<br>"), showarrow: false, font: { size: 12 },
      x: (column + 0.5) / panels.length, y: 1.02, xanchor: "center", yanchor: "bottom",
      xref: "paper", yref: "paper" });
  });
  Plotly.react(one("angle-plot"), traces, layout(extra), CONFIG);
}

/* Layers */
function drawLayers() {
  const task = data.tasks[Number(one("layer-task").value)];
  options(one("layer-method"), task.methods.map((method) => method.label));
  const maps = task.layers[Number(one("layer-method").value)];
  const traces = [];
  const extra = { grid: { rows: 1, columns: maps.length, pattern: "independent" }, annotations: [],
    margin: { l: 70, r: 20, t: 65, b: 50 } };
  maps.forEach((map, column) => {
    const suffix = column === 0 ? "" : String(column + 1);
    traces.push({ type: "heatmap", xaxis: `x${suffix}`, yaxis: `y${suffix}`, x: map.x, y: map.y, z: map.z,
      customdata: map.cosines, zmin: -data.deviations, zmax: data.deviations, colorscale: "RdBu", reversescale: false,
      showscale: column === maps.length - 1, colorbar: { title: { text: "σ of chance" } },
      hovertemplate: "%{y}, iteration %{x}<br>cosine %{customdata:.4f}, %{z:.1f} σ<extra></extra>" });
    extra[`xaxis${suffix}`] = { title: { text: "iteration i" }, dtick: Math.max(1, Math.ceil(map.x.length / 8)) };
    extra[`yaxis${suffix}`] = { autorange: "reversed", showticklabels: column === 0 };
    extra.annotations.push({ text: data.relations[column].replace(", ", ",<br>"), showarrow: false, font: { size: 12 },
      x: (column + 0.5) / maps.length, y: 1.02, xanchor: "center", yanchor: "bottom",
      xref: "paper", yref: "paper" });
  });
  Plotly.react(one("layer-plot"), traces, layout(extra), CONFIG);
}

/* Bowl */
function drawBowl() {
  const bowl = data.bowl;
  const contour = { type: "contour", x: bowl.x, y: bowl.y, z: bowl.z, colorscale: "Greys", reversescale: true,
    opacity: 0.35, contours: { coloring: "lines" }, showscale: false, hoverinfo: "skip" };
  const lines = bowl.paths.map((path) => ({ x: path.points.map((p) => p[0]), y: path.points.map((p) => p[1]),
    mode: "lines+markers", name: path.label, line: { color: path.colour }, marker: { symbol: path.symbol, size: 5 },
    text: path.loss.map((loss, i) => `${path.label}, update ${i}: loss ${loss.toPrecision(3)}`), hoverinfo: "text" }));
  Plotly.react(one("bowl-paths"), [contour, ...lines], layout({ title: { text: "paths", font: { size: 14 } },
    yaxis: { scaleanchor: "x" } }), CONFIG);
  const losses = bowl.paths.map((path) => ({ y: path.loss, mode: "lines", name: path.label,
    line: { color: path.colour } }));
  Plotly.react(one("bowl-loss"), losses, layout({ title: { text: "loss, 2 dimensions", font: { size: 14 } },
    yaxis: { type: "log" }, xaxis: { title: { text: "updates" } } }), CONFIG);
}

options(one("run"), data.runs.map((run) => run.label));
for (const id of ["angle-task", "layer-task"]) options(one(id), data.tasks.map((task) => task.title));
for (const id of ["run", "kind", "embedding", "dims"]) one(id).addEventListener("change", drawScenes);
for (const id of ["angle-task", "angle-kind"]) one(id).addEventListener("change", drawAngles);
for (const id of ["layer-task", "layer-method"]) one(id).addEventListener("change", drawLayers);
drawAngles();
drawLayers();
drawBowl();
drawScenes();
document.documentElement.dataset.ready = "yes";
})();
