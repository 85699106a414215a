// Curves of one task: mean over seeds as a line, its interval as a band; hover or arrow keys read values.

const HEIGHT = 380;
const MARGIN = { left: 62, right: 14, top: 10, bottom: 48 };

function curveChart(figure, title, level) {
  const tip = tooltip(figure);
  let shown = [], x = null, y = null, svg = null, focus = null, axis = null, place = null;

  // Draws `curves` (those of the methods switched on) against `kind`, an entry of data.axes.
  function render(curves, kind, methods) {
    svg?.remove();
    tip.hide();
    [shown, axis, place] = [curves.map((curve) => ({ ...curve, look: methods[curve.method] })), kind, null];
    const width = Math.max(280, figure.clientWidth);
    svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, tabindex: 0, role: "group",
      "aria-label": `${title}: reward increase against ${axis.title}. Arrow keys read values.` });
    figure.prepend(svg);
    if (!shown.length) {
      svg.append(draw("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle",
        text: "No method is switched on." }));
      return;
    }
    const values = shown.flatMap((curve) => [...(curve.low ?? []), ...(curve.high ?? []), ...curve.y]);
    const [low, high] = extent(values);
    const end = Math.max(...shown.flatMap((curve) => curve.x)) || 1;
    x = scale([0, end], [MARGIN.left, width - MARGIN.right]);
    y = scale([low, high], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    frame(width, end, low, high);
    for (const curve of shown) svg.append(curveGroup(curve));
    if (level !== null && level < high) reference(width);
    focus = draw("g", { "pointer-events": "none" });
    svg.append(focus);
    svg.addEventListener("pointermove", hover);
    svg.addEventListener("pointerleave", clear);
    svg.addEventListener("blur", clear);
    svg.addEventListener("keydown", step);
  }

  function frame(width, end, low, high) {
    const across = ticks(0, end, Math.max(3, width / 110)), up = ticks(low, high, 6);
    for (const value of up.values) {
      const zero = Math.abs(value) < up.step / 2;
      svg.append(draw("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value),
        class: zero ? "axis" : "gridline" }),
      draw("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end",
        text: signed(value, decimals(up.step)) }));
    }
    for (const value of across.values) {
      svg.append(draw("text", { x: x(value), y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle",
        text: plain(value, decimals(across.step)) }));
    }
    svg.append(draw("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: HEIGHT - 8, "text-anchor": "middle",
      class: "title", text: axis.title }),
    draw("text", { transform: `translate(14 ${(HEIGHT - MARGIN.bottom + MARGIN.top) / 2}) rotate(-90)`,
      "text-anchor": "middle", class: "title", text: "validation reward increase [r₀ score]" }));
  }

  // Over the curves, so that its words stay readable.
  function reference(width) {
    svg.append(draw("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(level), y2: y(level), class: "level" }),
      draw("text", { x: MARGIN.left + 6, y: y(level) - 5, class: "over",
        text: "reference level (normalised score 1)" }));
  }

  function curveGroup(curve) {
    const points = (row) => curve.x.map((value, i) => [x(value), y(row[i])]);
    const path = (pairs) => pairs.map((pair) => pair.map((v) => v.toFixed(1)).join(" ")).join("L");
    const group = draw("g", { class: `curve method-${curve.method}`, "data-method": curve.look.name });
    if (curve.low) {
      const outline = [...points(curve.high), ...points(curve.low).reverse()];
      group.append(draw("path", { class: "band", d: `M${path(outline)}Z` }));
    }
    group.append(draw("path", { class: "line", d: `M${path(points(curve.y))}`, "stroke-width": curve.look.width,
      "stroke-dasharray": curve.look.dash.join(" ") }));
    const every = Math.max(1, Math.round((curve.x.length - 1) / 8));
    curve.x.forEach((value, i) => {
      if (i % every === 0) group.append(mark(curve.look, x(value), y(curve.y[i]), 8));
    });
    return group;
  }

  function hover(event) {
    const box = svg.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    shown.forEach((curve, c) => {
      const i = nearest(curve.x, at[0]);
      const away = Math.hypot((x(curve.x[i]) - at[0]) / 4, y(curve.y[i]) - at[1]);
      if (best === null || away < best.away) best = { c, i, away };
    });
    read(best.c, best.i);
  }

  function nearest(xs, pixel) {
    let best = 0;
    xs.forEach((value, i) => { if (Math.abs(x(value) - pixel) < Math.abs(x(xs[best]) - pixel)) best = i; });
    return best;
  }

  function step(event) {
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const [right, up] = ways[event.key] ?? [0, 0];
    if (event.key === "Escape") clear();
    if (!right && !up) return;
    event.preventDefault();
    if (place === null) return read(0, shown[0].x.length - 1);
    const c = (place.c + up + shown.length) % shown.length;
    const i = up ? nearest(shown[c].x, x(shown[place.c].x[place.i])) : place.i + right;
    read(c, Math.min(shown[c].x.length - 1, Math.max(0, i)));
  }

  function read(c, i) {
    place = { c, i };
    const curve = shown[c], at = [x(curve.x[i]), y(curve.y[i])];
    svg.querySelectorAll(".curve").forEach((group, other) => group.classList.toggle("faded", other !== c));
    focus.setAttribute("class", `method-${curve.method}`);
    focus.replaceChildren(
      draw("line", { x1: at[0], x2: at[0], y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "crosshair" }),
      mark(curve.look, ...at, 13));
    tip.show(curve.look.label, [
      `${axis.button}: ${plain(curve.x[i], axis.digits)} ${axis.unit}`,
      `reward increase ${signed(curve.y[i])}`,
      curve.low ? `95 % interval ${signed(curve.low[i])} to ${signed(curve.high[i])}` : "one seed, no interval",
      `n = ${curve.n}${curve.diverged ? `, ${curve.diverged} diverged: ends where the first run does` : ""}`,
    ], ...at);
  }

  function clear() {
    place = null;
    tip.hide();
    focus?.replaceChildren();
    svg.querySelectorAll(".faded").forEach((group) => group.classList.remove("faded"));
  }

  return render;
}
