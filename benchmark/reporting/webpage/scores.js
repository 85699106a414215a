// Scores at the end of the budget: one row a method, every seed a dot, the summary a mark with its interval.

const ROW = 24;

function scoreChart(panel, methods) {
  const figure = node("div", { class: "figure" });
  const holder = node("section", {}, node("h4", { text: panel.title }), figure);
  const tip = tooltip(figure);
  let svg = null;

  function render() {
    svg?.remove();
    tip.hide();
    const width = Math.max(260, figure.clientWidth);
    const bottom = panel.rows.length * ROW + 8;
    const spoken = panel.rows.map((row) => `${methods[row.method].label} ${words(row)}`).join("; ");
    svg = draw("svg", { viewBox: `0 0 ${width} ${bottom + 40}`, height: bottom + 40, role: "img",
      "aria-label": `${panel.title}. ${spoken}` });
    figure.prepend(svg);
    const labels = panel.rows.map((row, i) => draw("text", { y: middle(i) + 4, "text-anchor": "end", class: "title",
      text: methods[row.method].label }));
    svg.append(...labels);
    const left = Math.max(...labels.map((label) => label.getBBox().width)) + 16;
    for (const label of labels) label.setAttribute("x", left - 12);
    const numbers = panel.rows.flatMap((row) => [row.value, row.low, row.high, ...row.dots]).filter((v) => v !== null);
    const [low, high] = extent(numbers);
    const x = scale([low, high], [left, width - 12]);
    const lines = ticks(low, high, Math.max(2, (width - left) / 75));
    for (const value of lines.values) {
      svg.append(draw("line", { x1: x(value), x2: x(value), y1: 0, y2: bottom,
        class: Math.abs(value) < lines.step / 2 ? "axis" : "gridline" }),
      draw("text", { x: x(value), y: bottom + 15, "text-anchor": "middle",
        text: signed(value, decimals(lines.step)) }));
    }
    svg.append(draw("text", { x: width - 12, y: bottom + 34, "text-anchor": "end", class: "title",
      text: panel.unit }));
    panel.rows.forEach((row, i) => svg.append(scoreRow(row, x, left, width, middle(i))));
    svg.addEventListener("pointerleave", () => tip.hide());
  }

  function middle(i) {
    return i * ROW + ROW / 2 + 4;
  }

  function words(row) {
    if (row.word) return row.word;
    const interval = row.low === null ? "" : ` (95 % interval ${signed(row.low)} to ${signed(row.high)})`;
    return `${signed(row.value)}${interval}, n = ${row.n}`;
  }

  function scoreRow(row, x, left, width, y) {
    const method = methods[row.method];
    const group = draw("g", { class: `score method-${row.method}`, "data-method": method.name });
    group.append(draw("rect", { x: 0, y: y - ROW / 2, width, height: ROW, fill: "transparent" }));
    for (const value of row.dots) {
      group.append(draw("circle", { class: "seed", cx: x(value), cy: y, r: 3 }));
    }
    if (row.low !== null) {
      group.append(draw("line", { class: "interval", x1: x(row.low), x2: x(row.high), y1: y, y2: y }));
    }
    // A word has no place on the axis; it stands where the row begins.
    if (row.value === null) group.append(draw("text", { x: left + 4, y: y + 4, text: row.word }));
    else group.append(mark(method, x(row.value), y, 11));
    group.addEventListener("pointerenter", () => {
      tip.show(method.label, [words(row)], row.value === null ? left : x(row.value), y - 8);
    });
    return group;
  }

  return { holder, render };
}
