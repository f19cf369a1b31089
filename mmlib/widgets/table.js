// A table to choose rows in: a click on a heading sorts, on a row chooses, with Ctrl or Shift several, arrows move.
function render({ model, el }) {
  let sort = { name: null, down: false }, from = 0, shown = [];
  const value = (row) => row.cells[sort.name];
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is missing comes last
    const words = (typeof x === "string") - (typeof y === "string"); // after numbers
    const n = words || (typeof x === "number" ? x - y : x.localeCompare(y));
    return sort.down ? -n : n;
  };
  const choose = (keys) => { model.set("chosen", keys); model.save_changes(); };
  const pick = (place, event) => {
    const key = shown[place].key, before = model.get("chosen");
    if (event.shiftKey) {
      return choose(shown.slice(Math.min(from, place), Math.max(from, place) + 1).map((row) => row.key));
    }
    from = place;
    if (!event.ctrlKey && !event.metaKey) return choose([key]);
    choose(before.includes(key) ? before.filter((each) => each !== key) : [...before, key]);
  };
  const add = (parent, tag, text, attributes = {}) => {
    const made = parent.appendChild(document.createElement(tag));
    made.textContent = text;
    Object.entries(attributes).forEach(([name, content]) => made.setAttribute(name, content));
    return made;
  };
  const draw = () => {
    const top = el.scrollTop, focused = el.contains(document.activeElement);
    shown = [...model.get("rows")];
    if (sort.name !== null) shown.sort(order);
    el.replaceChildren();
    const table = add(el, "table", "", { role: "grid", "aria-multiselectable": "true" });
    const head = add(add(table, "thead", ""), "tr", "");
    for (const name of model.get("columns")) {
      const th = add(head, "th", "", { "aria-sort": sort.name !== name ? "none" : sort.down ? "descending" : "ascending" });
      add(th, "button", name.replaceAll("_", " ") + (sort.name !== name ? "" : sort.down ? " ▾" : " ▴")).onclick = () => {
        sort = { name, down: sort.name === name && !sort.down };
        draw();
      };
    }
    const body = add(table, "tbody", "");
    shown.forEach((row, place) => {
      const tr = add(body, "tr", "", { tabindex: 0, "aria-selected": model.get("chosen").includes(row.key) });
      model.get("columns").forEach((name) => {
        const text = row.texts[name], number = typeof row.cells[name] === "number";
        add(tr, "td", text, { title: text, class: number ? "number" : "" });
      });
      tr.onmousedown = (event) => event.shiftKey && event.preventDefault(); // or it marks text
      tr.onclick = (event) => pick(place, event);
      tr.onkeydown = (event) => {
        const to = { ArrowDown: place + 1, ArrowUp: place - 1, Enter: place, " ": place }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        if (shown[to]) { from = to; pick(to, event); }
      };
    });
    el.scrollTop = top;
    if (focused) body.children[from]?.focus({ preventScroll: true });
  };
  el.classList.add("mm-table");
  ["change:rows", "change:chosen"].forEach((what) => model.on(what, draw));
  draw();
}
export default { render };
