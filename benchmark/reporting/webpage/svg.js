// Small helpers for HTML and SVG. Text enters the page by textContent alone: it is data, never markup.

const SVG = "http://www.w3.org/2000/svg";

function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") made.textContent = value;
    else if (name === "click") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else made.setAttribute(name, typeof value === "number" ? Math.round(value * 100) / 100 : value);
  }
  made.append(...children);
  return made;
}

// Round steps of 1, 2 or 5 times a power of ten that cover low … high with about `count` lines.
function ticks(low, high, count, whole = false) {
  const rough = Math.max((high - low) / Math.max(1, count), whole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return { step, values: found };
}

function plain(value, digits) {
  const text = value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return /[1-9]/.test(text) ? text.replace("-", "−") : text.replace("-", "");
}

function signed(value, digits = 3) {
  const text = plain(value, digits);
  return /[1-9]/.test(text) && value > 0 ? `+${text}` : text;
}

function decimals(step) {
  return Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
}

function scale(from, to) {
  const factor = (to[1] - to[0]) / (from[1] - from[0]);
  return (value) => to[0] + (value - from[0]) * factor;
}

// [low, high] of the values, widened by a share so that nothing touches the frame; with `zero` 0 is included and may be
// an end itself.
function extent(values, zero = true) {
  const known = zero ? [0, ...values] : values, low = Math.min(...known), high = Math.max(...known);
  const room = (high - low || 1) * 0.05;
  return [low - (zero && low === 0 ? 0 : room), high + (zero && high === 0 && low < 0 ? 0 : room)];
}

function mark(method, x, y, size) {
  return draw("path", {
    d: method.marker, class: `mark${method.filled ? "" : " open"}${method.hollow ? " hollow" : ""}`,
    transform: `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${size})`,
  });
}

// The sample of a legend: line and marker as the charts draw them.
function swatch(method, index) {
  return draw("svg", { width: 30, height: 12, class: `method-${index}`, "aria-hidden": "true" },
    draw("line", { x1: 0, y1: 6, x2: 30, y2: 6, class: "line", "stroke-width": method.width,
      "stroke-dasharray": method.dash.join(" ") }),
    mark(method, 15, 6, 8));
}

function tooltip(figure) {
  const box = node("div", { class: "tooltip", role: "status" });
  box.hidden = true;
  figure.append(box);
  return {
    // `lines` are texts; x, y the place in the figure that is spoken of.
    show(title, lines, x, y) {
      box.replaceChildren(node("strong", { text: title }), ...lines.map((text) => node("div", { text })));
      box.hidden = false;
      const left = x + 14 + box.offsetWidth > figure.clientWidth ? x - 14 - box.offsetWidth : x + 14;
      box.style.left = `${Math.max(0, left)}px`;
      box.style.top = `${Math.max(0, y - box.offsetHeight - 10)}px`;
    },
    hide() { box.hidden = true; },
  };
}
