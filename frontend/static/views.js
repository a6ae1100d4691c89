// What is looked at closely: charts under the pointer, texts to search, secrets not yet kept.
"use strict";

const narrow = (text) => text.replace(/\B(?=(\d{3})+$)/g, ",");

// A chart tells the bar under the pointer; for everybody else its numbers stand in the table.
function tell(plot, event) {
  const tip = one(".tip", plot);
  const bar = event.target.closest("g[data-at]");
  tip.hidden = !bar;
  if (!bar) return;
  const [delivered, retried, failed] = bar.dataset.counts.split(",");
  tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: WAYS.day(new Date(bar.dataset.at)) }));
  for (const [word, count] of [["delivered", delivered], ["retrying", retried], ["failed", failed]]) {
    const line = document.createElement("span");
    line.className = `key ${word}`;
    line.textContent = `${narrow(count)} ${word === "retrying" ? "retried" : word}`;
    tip.append(line);
  }
  const box = plot.getBoundingClientRect();
  const x = Math.min(Math.max(event.clientX - box.left, 74), box.width - 74);
  tip.style.translate = `calc(${Math.round(x)}px - 50%) 0`;
}
document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.(".plot");
  if (plot) tell(plot, event);
  else all(".tip:not([hidden])").forEach((tip) => (tip.hidden = true));
});
document.addEventListener("click", ({ target }) => {
  const address = target.closest?.("[data-go]")?.dataset.go;
  if (!address) return;
  history.pushState({ htmx: true }, "", address);
  htmx.ajax("GET", address, { target: "#live", swap: "morph" });
});

// Searching marks ranges and changes nothing in the page, so that it outlives every refresh.
const canMark = "highlights" in CSS;
function ranges(pre, pattern) {
  const found = [];
  const walker = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const match of node.data.matchAll(pattern)) {
      const range = new Range();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      found.push(range);
    }
  return found;
}
const literal = (text) => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
function find(input, step = 0, follow = true) {
  const pre = document.getElementById(input.dataset.find);
  const told = one("output", input.parentElement);
  const found = input.value && pre ? ranges(pre, literal(input.value)) : [];
  const at = found.length ? ((Number(input.dataset.at) || 0) + step + found.length) % found.length : 0;
  input.dataset.at = at;
  told.textContent = input.value ? (found.length ? `${at + 1} of ${found.length}` : "none") : "";
  if (!canMark) return;
  CSS.highlights.set("found", new Highlight(...found));
  CSS.highlights.set("found-at", new Highlight(...found.slice(at, at + 1)));
  const spot = follow && found[at]?.getBoundingClientRect();
  if (spot) pre.scrollTop += spot.top - pre.getBoundingClientRect().top - pre.clientHeight / 2;
}
document.addEventListener("input", ({ target }) => {
  if (!target.dataset?.find) return;
  target.dataset.at = 0;
  find(target);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.dataset?.find) return;
  event.preventDefault();
  find(event.target, event.shiftKey ? -1 : 1);
});
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null/g;
function kindOf(range) {
  if (!range.toString().startsWith('"')) return "number";
  return range.endContainer.data[range.endOffset] === ":" ? "key" : "string";
}
function colour() {
  if (!canMark) return;
  const kinds = { key: new Highlight(), string: new Highlight(), number: new Highlight() };
  for (const range of all("pre.json").flatMap((pre) => ranges(pre, TOKEN))) kinds[kindOf(range)].add(range);
  for (const [kind, marks] of Object.entries(kinds)) CSS.highlights.set(`json-${kind}`, marks);
}
document.addEventListener("htmx:afterSettle", () => {
  colour();
  all("[data-find]").forEach((input) => input.value && find(input, 0, false));
});
colour();

// The one look at a secret: whoever has not copied it is asked before it is gone.
const unkept = () => all("[data-secret]:not([data-kept])");
const keep = (node) => node?.closest?.("[data-secret]")?.setAttribute("data-kept", "");
document.addEventListener("copied", ({ target }) => keep(target));
document.addEventListener("copy", () => keep(getSelection().anchorNode?.parentElement));
addEventListener("beforeunload", (event) => {
  if (unkept().length) event.preventDefault();
});
// A link to something folded opens it.
function unfold() {
  const aim = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (aim?.nodeName === "DETAILS") aim.open = true;
  if (aim?.matches?.("input")) aim.focus();
}
addEventListener("hashchange", unfold);
document.addEventListener("click", ({ target }) => {
  if (target.closest?.("a[href^='#']")) setTimeout(unfold);
});
unfold();

// What takes a moment to open gets its room at once.
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  const opener = detail.elt.closest?.("[data-opens]");
  if (!opener || one("#drawer")) return;
  const wait = setTimeout(() => one(".drawn > .column, .alone, .drawn")?.prepend(blank()), 150);
  detail.xhr.addEventListener("loadend", () => clearTimeout(wait));
});
function blank() {
  const card = document.createElement("aside");
  card.className = "card drawer";
  card.id = "drawer";
  card.ariaBusy = "true";
  for (let n = 0; n < 6; n++) card.append(Object.assign(document.createElement("p"), { className: "skeleton" }));
  return card;
}
