// Sample completions of one task side by side: prompt, reference, π₀ and the methods that are switched on.

function sampleView(section, seeds, methods) {
  const cards = node("div", { class: "cards", "aria-live": "polite" });
  const seed = chooser("seed", seeds.map((entry) => String(entry.seed)));
  const prompt = chooser("prompt", []);
  section.append(node("div", { class: "controls" }, prompt.label, seed.label), cards);
  let on = new Set();

  function chooser(name, texts) {
    const select = node("select", { "aria-label": `${section.dataset.title}: ${name}` });
    const fill = (options) => select.replaceChildren(
      ...options.map((text, i) => node("option", { value: i, text })));
    fill(texts);
    return { select, fill, label: node("label", { class: "group" }, node("span", { text: name }), select) };
  }

  function prompts() {
    return seeds[seed.select.selectedIndex].prompts;
  }

  function fillPrompts() {
    const chosen = Math.max(0, prompt.select.selectedIndex);
    prompt.fill(prompts().map((entry, i) => `${i + 1}: ${entry.prompt.replace(/\s+/g, " ").slice(0, 70)}…`));
    prompt.select.selectedIndex = Math.min(chosen, prompts().length - 1);
  }

  function card(title, text, reward, style, note = "") {
    const head = node("div", { class: "head" }, node("h4", { text: title }));
    if (reward !== null) head.append(node("span", { class: "reward", text: `r₀ ${signed(reward)}` }));
    const body = node("p", { class: "text", dir: "auto", text: text || "(empty)" });
    const made = node("div", { class: `card ${style}` }, head, body);
    if (note) made.append(node("p", { class: "same", text: note }));
    return made;
  }

  function show() {
    const entry = prompts()[prompt.select.selectedIndex];
    const answers = entry.answers.filter((answer) => on.has(answer.method));
    cards.replaceChildren(
      card("Prompt", entry.prompt, null, "wide"),
      card("Reference", entry.reference, null, ""),
      card("π₀", entry.base, entry.reward, ""),
      ...answers.map((answer) => {
        const same = answer.text === entry.base;
        const known = answer.reward !== null && entry.reward !== null;
        const change = known ? `${signed(answer.reward - entry.reward)} against π₀` : "";
        return card(methods[answer.method].label, answer.text, answer.reward, `method-${answer.method}`,
          same ? "the same text as π₀" : change);
      }));
  }

  seed.select.addEventListener("change", () => { fillPrompts(); show(); });
  prompt.select.addEventListener("change", show);
  fillPrompts();
  return (switched) => { on = switched; show(); };
}
