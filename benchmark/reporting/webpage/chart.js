// A chart of series of points with what lies behind them; hover or arrow keys read values.

const MARGIN = { right: 14, top: 10, bottom: 48 };

// An axis: its range and title; `text` words a tick, `whole` keeps ticks to whole numbers, `count` is about how many;
// ticks have lines of class
// `line` if that is given, the one at `zero` is stronger.
function axis(range, title, more = {}) {
  return { range, title, text: (value, step) => plain(value, decimals(step)), zero: 0, line: "", ...more };
}

// Returns a function that draws a picture:
//   label: what it is, for readers that cannot see it. empty: words where there is no series. height: in pixels.
//   across, up: its axes. equal: both have one unit. bare: neither is drawn.
//   free: points are not ordered by x. steep: weight of the vertical when the nearest series is looked for.
//   behind, over: called with an <svg> that is cut at the frame, or with the whole one, and the two scales.
//   series: { look: index into `looks`, name, x, y, low, high, dots: [[x, y]], bar: [low, high] of x, plain: without a
//     line, mark: i => [shape, size] or null, note: i => words beside it, read: i => [heading, lines] }.
function chart(figure, looks) {
  const tip = tooltip(figure);
  let picture = null, height = 0, x = null, y = null, svg = null, focus = null, place = null;

  function render(wanted) {
    svg?.remove();
    tip.hide();
    [place, focus, height] = [null, null, wanted.height ?? 380];
    picture = { ...wanted, series: wanted.series.filter((series) => series.x.length) };
    const words = worded(picture.up, picture.up.range, picture.up.count ?? 6).map(([, text]) => text.length);
    const left = picture.bare ? MARGIN.right : (picture.up.title ? 34 : 10) + 7 * Math.max(...words);
    const right = Math.max(280, figure.clientWidth) - MARGIN.right, bottom = height - MARGIN.bottom;
    svg = draw("svg", { viewBox: `0 0 ${right + MARGIN.right} ${height}`, height, tabindex: 0, role: "group",
      "aria-label": `${picture.label}. Arrow keys read values.` });
    figure.prepend(svg);
    if (!picture.series.length) {
      svg.append(draw("text", { x: right / 2, y: height / 2, "text-anchor": "middle", text: picture.empty }));
      return;
    }
    const sizes = [right - left, bottom - MARGIN.top], ranges = [picture.across.range, picture.up.range];
    if (picture.equal) {
      const unit = Math.max(...ranges.map(([low, high], i) => (high - low) / sizes[i]));
      ranges.forEach(([low, high], i) => {
        const middle = (low + high) / 2, half = unit * sizes[i] / 2;
        ranges[i] = [middle - half, middle + half];
      });
    }
    x = scale(ranges[0], [left, right]);
    y = scale(ranges[1], [bottom, MARGIN.top]);
    const inside = draw("svg", { x: left, y: MARGIN.top, width: sizes[0], height: sizes[1],
      viewBox: `${left} ${MARGIN.top} ${sizes[0]} ${sizes[1]}` });
    svg.append(inside);
    picture.behind?.(picture.bare ? svg : inside, x, y);
    if (!picture.bare) frame(left, right, bottom, ranges);
    for (const series of picture.series) svg.append(group(series));
    picture.over?.(svg, x, y, left, right);
    focus = draw("g", { "pointer-events": "none" });
    svg.append(focus);
    svg.addEventListener("pointermove", hover);
    svg.addEventListener("pointerleave", clear);
    svg.addEventListener("blur", clear);
    svg.addEventListener("keydown", step);
  }

  // Place, words and line of every tick of an axis that shows `range`.
  function worded(kind, range, count) {
    const { step, values } = ticks(...range, count, kind.whole);
    const line = (value) => kind.line && (Math.abs(value - kind.zero) < step / 2 ? "axis" : kind.line);
    return values.map((value) => [value, kind.text(value, step), line(value)]);
  }

  function frame(left, right, bottom, ranges) {
    const { across, up } = picture;
    for (const [value, text, line] of worded(up, ranges[1], up.count ?? 6)) {
      const at = y(value);
      if (line) svg.append(draw("line", { x1: left, x2: right, y1: at, y2: at, class: line }));
      svg.append(draw("text", { x: left - 8, y: at + 4, "text-anchor": "end", text }));
    }
    for (const [value, text, line] of worded(across, ranges[0], Math.max(3, right / 110))) {
      const at = x(value);
      if (line) svg.append(draw("line", { x1: at, x2: at, y1: MARGIN.top, y2: bottom, class: line }));
      svg.append(draw("text", { x: at, y: bottom + 18, "text-anchor": "middle", text }));
    }
    svg.append(draw("text", { x: (left + right) / 2, y: height - 8, "text-anchor": "middle", class: "title",
      text: across.title }),
    draw("text", { transform: `translate(14 ${(bottom + MARGIN.top) / 2}) rotate(-90)`, "text-anchor": "middle",
      class: "title", text: up.title }));
  }

  function group(series) {
    const look = looks[series.look];
    const points = (row) => series.x.map((value, i) => [x(value), y(row[i])]);
    const path = (pairs) => pairs.map((pair) => pair.map((v) => v.toFixed(1)).join(" ")).join("L");
    const made = draw("g", { class: `curve method-${series.look}`, "data-method": series.name });
    if (series.low) {
      const outline = [...points(series.high), ...points(series.low).reverse()];
      made.append(draw("path", { class: "band", d: `M${path(outline)}Z` }));
    }
    if (!series.plain) {
      made.append(draw("path", { class: "line", d: `M${path(points(series.y))}`, "stroke-width": look.width,
        "stroke-dasharray": look.dash.join(" ") }));
    }
    if (series.bar) {
      const [x1, x2] = series.bar.map(x), at = y(series.y[0]);
      made.append(draw("line", { class: "interval", x1, x2, y1: at, y2: at }));
    }
    for (const [a, b] of series.dots ?? []) made.append(draw("circle", { class: "seed", cx: x(a), cy: y(b), r: 3 }));
    points(series.y).forEach(([a, b], i) => {
      const [shape, size] = series.mark?.(i) ?? [null];
      if (shape) made.append(mark(shape, a, b, size));
      const note = series.note?.(i);
      const side = a > svg.viewBox.baseVal.width - 60 ? -1 : 1; // words stay within the picture
      if (note) {
        made.append(draw("text", { x: a + 7 * side, y: b - 6, class: "over note", text: note,
          "text-anchor": side > 0 ? "start" : "end" }));
      }
    });
    return made;
  }

  // How far point i of a series lies from a place on the screen; `steep` is the weight of the vertical.
  function away(series, i, at, steep) {
    return Math.hypot(x(series.x[i]) - at[0], steep * (y(series.y[i]) - at[1]));
  }

  // The point of a series that is nearest to a place: over x where points are ordered by it.
  function nearest(series, at) {
    const far = series.x.map((_, i) => away(series, i, at, picture.free ? 1 : 0));
    return far.indexOf(Math.min(...far));
  }

  function hover(event) {
    const box = svg.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    const found = picture.series.map((series) => nearest(series, at));
    const far = picture.series.map((series, c) => away(series, found[c], at, picture.steep ?? 1));
    const best = far.indexOf(Math.min(...far));
    read(best, found[best]);
  }

  function step(event) {
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const [right, up] = ways[event.key] ?? [0, 0];
    if (event.key === "Escape") clear();
    if (!right && !up) return;
    event.preventDefault();
    const all = picture.series;
    if (place === null) return read(0, all[0].x.length - 1);
    const c = (place.c + up + all.length) % all.length;
    const [a, b] = [all[place.c].x[place.i], all[place.c].y[place.i]];
    const i = up ? nearest(all[c], [x(a), y(b)]) : place.i + right;
    read(c, Math.min(all[c].x.length - 1, Math.max(0, i)));
  }

  function read(c, i) {
    place = { c, i };
    const series = picture.series[c], at = [x(series.x[i]), y(series.y[i])];
    svg.querySelectorAll(".curve").forEach((other, k) => other.classList.toggle("faded", k !== c));
    focus.setAttribute("class", `method-${series.look}`);
    focus.replaceChildren(mark(looks[series.look], ...at, 13));
    if (!picture.free) {
      focus.prepend(draw("line", { x1: at[0], x2: at[0], y1: MARGIN.top, y2: height - MARGIN.bottom,
        class: "crosshair" }));
    }
    tip.show(...series.read(i), ...at);
  }

  function clear() {
    place = null;
    tip.hide();
    focus?.replaceChildren();
    svg.querySelectorAll(".faded").forEach((other) => other.classList.remove("faded"));
  }

  return render;
}
