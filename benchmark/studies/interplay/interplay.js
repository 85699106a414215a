// Angles beside chance, trajectories to turn around, layers over iterations, and the bowl.

const { looks, relations } = data;
const policy = looks.length - 2, reward = looks.length - 1; // behind the methods
const LABELS = 12; // iterations that are numbered at most
const one = (id) => document.getElementById(id);
const chosen = (id) => Math.max(0, one(id).selectedIndex);
const degrees = (value) => `${plain(value, 2)}°`;

function options(id, names) {
  const before = chosen(id);
  one(id).replaceChildren(...names.map((text) => node("option", { text })));
  one(id).selectedIndex = before < names.length ? before : 0;
}

function panels(id, titles) {
  const figures = titles.map(() => node("div", { class: "figure" }));
  one(id).append(...figures.map((figure, i) => node("section", {}, node("h4", { text: titles[i] }), figure)));
  return figures.map((figure) => chart(figure, looks));
}

function look(i, label = looks[i].label) {
  return node("span", {}, swatch(looks[i], i), label);
}

function sample(...boxes) {
  return draw("svg", { width: 12 * boxes.length, height: 12, "aria-hidden": "true" },
    ...boxes.map((box, i) => draw("rect", { x: 12 * i, width: 12, height: 12, ...box })));
}

const angleCharts = panels("angle-charts", relations);

function drawAngles() {
  const task = data.tasks[chosen("angle-task")], kinds = Object.keys(task.angles);
  options("angle-kind", kinds);
  const kind = kinds[chosen("angle-kind")];
  one("angle-legend").replaceChildren(...task.methods.map((i) => look(i)),
    node("span", {}, sample({ class: "chance" }), "95 % of independent random updates of the same shapes and norms"));
  task.angles[kind].forEach((panel, k) => angleCharts[k]({
    label: `${relations[k]}: angle over iterations, measured on the ${kind}`, steep: 4, empty: "There is no such pair of updates.",
    across: axis([panel.x[0] - 0.5, panel.x.at(-1) + 0.5], "iteration i", { whole: true }),
    up: axis(extent([88, 92, ...panel.low, ...panel.high, ...panel.lines.flatMap((line) => line.dots.map((d) => d[1]))],
      false), "angle [°]", { zero: 90, line: "gridline" }),
    behind(svg, x, y) {
      svg.append(...panel.x.map((i, n) => draw("rect", { class: "chance", x: x(i - 0.5), width: x(1) - x(0),
        y: y(panel.high[n]), height: y(panel.low[n]) - y(panel.high[n]) })));
    },
    series: panel.lines.map((line) => ({
      ...line, name: looks[line.look].name, mark: () => [looks[line.look], 8],
      read: (i) => [looks[line.look].label, [`iteration ${line.x[i]}: ${degrees(line.y[i])}`,
        ...line.dots.filter(([x]) => x === line.x[i]).map(([, y, seed]) => `seed ${seed}: ${degrees(y)}`)]],
    })),
  }));
}

const layerCharts = panels("layer-charts", relations);

function drawLayers() {
  const task = data.tasks[chosen("layer-task")];
  options("layer-method", task.methods.map((i) => looks[i].label));
  task.layers[chosen("layer-method")].forEach((map, k) => layerCharts[k]({
    label: `${relations[k]}: cosine by layer and iteration`, empty: "There is no such pair of updates.", free: true,
    across: axis([map.x[0] - 0.5, map.x.at(-1) + 0.5], "iteration i", { whole: true }),
    up: axis([0.5 - map.y.length, 0.5], "layer",
      { whole: true, text: (value) => map.y[-value] ?? "" }),
    // Each cell over the paper, so that chance has its colour in the light and in the dark.
    behind(svg, x, y) {
      map.z.forEach((row, line) => row.forEach((value, n) => svg.append(draw("rect", { ...colour(value),
        x: x(map.x[n] - 0.5), width: x(1) - x(0) - 1, y: y(0.5 - line), height: y(0) - y(1) - 1 }))));
    },
    series: map.y.map((name, line) => ({
      look: task.methods[chosen("layer-method")], x: map.x, y: map.x.map(() => -line), plain: true,
      read: (i) => [`layer ${name}, iteration ${map.x[i]}`, map.z[line][i] === null ? ["one of the two did not move"]
        : [`cosine ${signed(map.cosines[line][i], 4)}`, `${signed(map.z[line][i], 1)} standard deviations of chance`]],
    })).filter(() => map.x.length),
  }));
}

function colour(value) {
  return { class: value < 0 ? "cold" : "hot", "fill-opacity": Math.min(1, Math.abs(value) / data.deviations) };
}

const sceneCharts = panels("scene-charts", ["The run", "A random walk, in 2 dimensions"]);
const scene = document.querySelector("#scene-charts .figure");

function drawScenes() {
  const run = data.runs[chosen("run")], kinds = Object.keys(run.pictures);
  options("kind", kinds);
  const { embeddings, marks } = run.pictures[kinds[chosen("kind")]];
  const methods = [...new Set(Object.keys(embeddings).map((key) => key.split("|")[0]))];
  options("embedding", methods);
  const method = methods[chosen("embedding")], deep = chosen("dims") === 0;
  sceneCharts[0](trajectories(embeddings[`${method}|${deep ? 3 : 2}`], marks, method, run.label));
  sceneCharts[1](trajectories(embeddings[`${method}|0`], marks, method, "a random walk"));
  scene.classList.toggle("turning", deep);
  one("turning").hidden = !deep;
}

function trajectories(found, marks, method, label) {
  const names = found.policy[0].map((_, i) => (found.explained
    ? `PC ${i + 1} (${Math.round(100 * found.explained[i])} %)` : `${method} ${i + 1}`));
  const unit = found.explained ? " [largest displacement]" : "";
  const points = [...found.policy, ...found.reward], deep = names.length === 3;
  const seen = deep ? turned(points, names, Boolean(found.explained)) : { place: (point) => point };
  const range = (i) => (deep ? [-seen.reach[i], seen.reach[i]] : extent(points.map((point) => point[i]), false));
  return {
    label: `${label}: trajectories, ${names.join(", ")}`, free: true, bare: deep, behind: seen.behind,
    across: axis(range(0), names[0] + unit), up: axis(range(1), names[1] + unit, { line: "gridline" }),
    equal: deep || Boolean(found.explained),
    series: [track(found.policy, marks, policy, seen.place, names),
      track(found.reward, found.reward.map((_, i) => i), reward, seen.place, names)],
  };
}

function track(points, marks, who, place, names) {
  const ends = new Map(marks.map((at, i) => [at, i])), last = points.length - 1;
  const step = Math.max(1, Math.ceil((marks.length - 1) / LABELS));
  const flat = points.map(place);
  return {
    look: who, name: looks[who].name, x: flat.map((point) => point[0]), y: flat.map((point) => point[1]),
    mark(i) {
      if (i === 0) return [{ ...looks[who], hollow: true }, 11];
      return i === last ? [{ marker: data.star, filled: true }, 17] : [looks[who], ends.has(i) ? 8 : 3];
    },
    note(i) {
      if (i === 0) return "start";
      if (i === last) return `end (${marks.length - 1})`;
      return ends.has(i) && ends.get(i) % step === 0 ? String(ends.get(i)) : "";
    },
    read: (i) => [looks[who].label, [ends.has(i) ? `after iteration ${ends.get(i)}`
      : `within iteration ${marks.filter((at) => at < i).length}`,
    ...names.map((name, k) => `${name}: ${signed(points[i][k])}`)]],
  };
}

// Points of a box in space as they are seen from `turn` and `tilt`, without perspective; with `same` the three axes have
// one unit, else each fills the box.
function turned(points, names, same) {
  const ranges = names.map((_, k) => extent(points.map((point) => point[k]), false));
  const middle = ranges.map(([low, high]) => (low + high) / 2), half = ranges.map(([low, high]) => (high - low) / 2);
  const unit = same ? half.map(() => Math.max(...half)) : half;
  const [a, b] = ["turn", "tilt"].map((id) => Number(one(id).value) * Math.PI / 180);
  const place = (point) => {
    const [u, v, w] = point.map((value, k) => (value - middle[k]) / unit[k]);
    return [v * Math.cos(a) - u * Math.sin(a), w * Math.cos(b) - (u * Math.cos(a) + v * Math.sin(a)) * Math.sin(b)];
  };
  const at = (end, k, s, t) => [s, t].toSpliced(k, 0, end).map((sign, i) => middle[i] + sign * half[i]);
  function behind(svg, x, y) {
    const seen = (point) => { const [right, up] = place(point); return [x(right), y(up)]; };
    names.forEach((name, k) => {
      const edges = [[-1, -1], [-1, 1], [1, -1], [1, 1]].map((signs) => ({
        signs, ends: [-1, 1].map((end) => seen(at(end, k, ...signs))), middle: seen(at(0, k, ...signs)) }));
      // The lowest edge on the screen carries the ticks; of the upright axis the leftmost.
      edges.sort((one, other) => (k === 2 ? one.middle[0] - other.middle[0] : other.middle[1] - one.middle[1]));
      edges.forEach(({ ends: [[x1, y1], [x2, y2]] }, i) => svg.append(
        draw("line", { x1, y1, x2, y2, class: i ? "gridline" : "axis" })));
      const [{ signs, ends, middle: [mx, my] }] = edges;
      const away = Math.hypot(mx - x(0), my - y(0)) || 1, [right, down] = [(mx - x(0)) / away, (my - y(0)) / away];
      const words = (text, [px, py], far, kind, anchor = "middle") => svg.append(draw("text", { x: px + far * right,
        y: py + far * down + 4, class: kind, "text-anchor": anchor, text }));
      const lines = ticks(...ranges[k], 4);
      for (const value of lines.values) {
        words(plain(value, decimals(lines.step)), seen(at((value - middle[k]) / half[k], k, ...signs)), 18, "");
      }
      if (k === 2) words(name, [ends[1][0], ends[1][1] - 14], 0, "title");
      else words(name, [mx, my], 40, "title", Math.abs(right) < 0.3 ? "middle" : right > 0 ? "start" : "end");
    });
  }
  const [u, v, w] = half.map((value, k) => value / unit[k]), wide = Math.hypot(u, v);
  return { place, behind, reach: [1.45 * wide, 1.25 * (w * Math.cos(b) + wide * Math.abs(Math.sin(b)))] };
}

function turning() {
  let grip = null;
  scene.addEventListener("pointerdown", (event) => {
    if (!scene.classList.contains("turning")) return;
    grip = [event.clientX, event.clientY, Number(one("turn").value), Number(one("tilt").value)];
    scene.setPointerCapture(event.pointerId);
  });
  scene.addEventListener("pointermove", (event) => {
    if (!grip) return;
    one("turn").value = (grip[2] - (event.clientX - grip[0]) / 2 + 900) % 360 - 180;
    one("tilt").value = grip[3] + (event.clientY - grip[1]) / 2;
    drawScenes();
  });
  for (const name of ["pointerup", "pointercancel"]) scene.addEventListener(name, () => { grip = null; });
}

const bowlCharts = panels("bowl-charts", ["Paths in 2 dimensions", "Loss in 2 dimensions"]);

function drawBowl() {
  const { paths, levels, curvatures, updates } = data.bowl;
  const named = (path) => ({ look: path.look, name: looks[path.look].name });
  const read = (path) => (i) => [path.label, [`update ${i}`, `loss ${path.loss[i].toPrecision(3)}`]];
  bowlCharts[0]({
    label: "paths down the bowl", free: true, equal: true,
    across: axis(extent(paths.flatMap((path) => path.x)), "x₁"), up: axis(extent(paths.flatMap((path) => path.y)), "x₂", { line: "gridline" }),
    behind(svg, x, y) { // where ½ Σ cᵢxᵢ² is the level
      svg.append(...levels.map((level) => draw("ellipse", { class: "contour", cx: x(0), cy: y(0),
        rx: x(Math.sqrt(2 * level / curvatures[0])) - x(0), ry: y(0) - y(Math.sqrt(2 * level / curvatures[1])) })));
    },
    series: paths.map((path, k) => ({ ...named(path), x: path.x, y: path.y, read: read(path),
      mark: (i) => [looks[path.look], i && i % updates === 0 ? 9 : 4], note: (i) => (k || i ? "" : "start") })),
  });
  const losses = paths.map((path) => path.loss.map(Math.log10));
  bowlCharts[1]({
    label: "loss over updates", steep: 4,
    across: axis([0, losses[0].length - 1], "updates", { whole: true }),
    up: axis(extent(losses.flat(), false), "loss",
      { whole: true, zero: NaN, line: "gridline", text: (value) => String(Number((10 ** value).toPrecision(1))) }),
    series: paths.map((path, k) => ({ ...named(path), x: path.loss.map((_, i) => i), y: losses[k], read: read(path),
      mark: (i) => (i % updates ? null : [looks[path.look], 8]) })),
  });
}

options("run", data.runs.map((run) => run.label));
options("dims", ["3", "2"]);
for (const id of ["angle-task", "layer-task"]) options(id, data.tasks.map((task) => task.title));
one("scene-legend").append(look(policy), look(reward), "hollow: start; star: end; numbers: iterations");
one("layer-legend").append(`−${data.deviations}`,
  sample(...[-1, -0.5, 0, 0.5, 1].map((share) => colour(share * data.deviations))),
  `+${data.deviations} standard deviations of chance; no colour: what chance gives`);
one("bowl-legend").append(...data.bowl.paths.map((path) => look(path.look, path.label)));
const draws = { angle: drawAngles, layer: drawLayers, run: drawScenes, kind: drawScenes, embedding: drawScenes,
  dims: drawScenes, turn: drawScenes, tilt: drawScenes };
for (const control of document.querySelectorAll("main select, main input")) {
  control.addEventListener(control.type === "range" ? "input" : "change", draws[control.id.split("-")[0]]);
}
redraw.push(drawAngles, drawScenes, drawLayers, drawBowl);
for (const again of redraw) again();
turning();
