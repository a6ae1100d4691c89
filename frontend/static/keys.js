// The keyboard: a palette that finds or does anything, a sheet of shortcuts, and the shortcuts.
"use strict";

const palette = one("#palette");
const help = one("#help");
const PLACES = { i: "/integrations", d: "/deliveries", e: "/events", a: "/audit", s: "/settings" };
const CHORD_MS = 1200;
const KEYS_OFF = "single-keys-off";
let prefixed = 0; // when `g` was pressed
let chosen = ""; // the line that Enter takes

function openPalette() {
  if (palette.open) return;
  help.close();
  palette.showModal();
  const seek = one("#palette-seek");
  seek.value = "";
  seek.focus();
  sift(); // in what was found before, until what there is now has come
  htmx.ajax("GET", "/palette", { target: "#palette-found", swap: "innerHTML" }).then(() => {
    one("#palette-found").removeAttribute("aria-busy");
    sift(chosen);
  });
}
function openHelp() {
  palette.close();
  if (!help.open) help.showModal();
}

// Every word must be in the line, in any order.
function sift(held = "") {
  const wanted = one("#palette-seek").value.toLowerCase().split(/\s+/).filter(Boolean);
  const lines = all("#palette-list > li");
  for (const line of lines) {
    const text = line.textContent.toLowerCase();
    line.hidden = !wanted.every((word) => text.includes(word));
  }
  const shown = lines.filter((line) => !line.hidden);
  choose(shown.find((line) => line.id === held) ?? shown[0]);
}
function choose(line) {
  all("#palette-list > .chosen").forEach((old) => old.classList.remove("chosen"));
  const shown = all("#palette-list > li:not([hidden])");
  chosen = line?.id ?? "";
  line?.classList.add("chosen");
  line?.scrollIntoView({ block: "nearest" });
  one("#palette-said").textContent = line
    ? `${one("a, button", line).innerText}, ${shown.indexOf(line) + 1} of ${shown.length}`
    : "Nothing matches";
}
function move(step) {
  const shown = all("#palette-list > li:not([hidden])");
  const at = shown.findIndex((line) => line.classList.contains("chosen"));
  choose(shown[(at + step + shown.length) % shown.length]);
}
function inPalette(event) {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Enter" && event.target.id === "palette-seek") one("#palette-list > .chosen :is(a, button)")?.click();
  else return;
  event.preventDefault();
}

const rows = () => all("main .cover").filter((link) => link.checkVisibility());
function step(by) {
  const links = rows();
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}
function create() {
  const name = one("#create #f-name");
  if (name) name.focus();
  else if (one("#help [data-creates]")) location.href = "/integrations#f-name"; // for those who may
}
function single(event) {
  const key = event.key;
  if (Date.now() - prefixed < CHORD_MS) {
    prefixed = 0;
    // Only where the navigation leads: it shows what this role may open.
    return one(`.nav a[href="${PLACES[key]}"]`)?.click();
  }
  if (key === "g") return void (prefixed = Date.now());
  if (key === "?") return openHelp();
  if (key === "/") return one("[data-search], .filters :is(input, select):not([type=hidden])")?.focus();
  if (key === "j") return step(1);
  if (key === "k") return step(-1);
  if (key === "c") return create();
  return false;
}
const isTyping = ({ target }) => target.matches?.("input, select, textarea, [contenteditable]");
function pressed(event) {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return openPalette();
  }
  if (palette.open) return inPalette(event);
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || one(":popover-open, dialog[open]")) return;
  if (localStorage.getItem(KEYS_OFF) && event.key !== "?") return;
  if (single(event) !== false) event.preventDefault();
}

// Where nobody is signed in there is nothing to find.
if (palette) {
  document.addEventListener("keydown", pressed);
  document.addEventListener("click", ({ target }) => {
    const wanted = target.closest?.("[data-open]")?.dataset.open;
    if (wanted) (wanted === "help" ? openHelp : openPalette)();
    if (target === palette || target === help) target.close(); // beside the card
  });
  one("#palette-seek").addEventListener("input", () => sift());
  const on = one("#single-keys");
  on.checked = !localStorage.getItem(KEYS_OFF);
  on.addEventListener("change", () => (on.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "1")));
  if (/Mac|iP/.test(navigator.platform)) all("[data-mod]").forEach((key) => (key.textContent = "⌘ K"));
}
