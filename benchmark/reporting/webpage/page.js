// What every page does: it reads its data, sorts its tables, and draws anew in another width.

const data = JSON.parse(document.getElementById("data").textContent);
const redraw = [];

document.documentElement.classList.add("scripted");

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

let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  for (const again of redraw) again();
});
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
