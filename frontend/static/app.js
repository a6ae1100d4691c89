// The portal's own script: live regions, honest freshness, times, copying. Pages work without it.
"use strict";

const POLL_MS = 5000; // while the stream is down
const SILENCE_MS = 40000; // the server says something every 15 s
const STALE_MS = 20000;
const GAP_MS = 500;
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Changes only what differs, so that focus, selection, scroll and open details stay. Elements are
// matched by id; what stands under [data-keep] is left alone, what a person typed too.
function morph(from, to) {
  if (from.isEqualNode(to) || from.dataset?.keep !== undefined) return;
  if (from.nodeName !== to.nodeName || (from.id || "") !== (to.id || "")) return from.replaceWith(to);
  if (from.nodeType !== Node.ELEMENT_NODE) return void (from.data = to.data);
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
  for (const { name, value } of [...to.attributes])
    if (from.getAttribute(name) !== value && name !== "open") from.setAttribute(name, value);
  const wanted = new Set([...to.children].map((child) => child.id).filter(Boolean));
  for (const child of [...from.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const known = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = from.firstChild;
  const drop = () => ([at] = [at.nextSibling, at.remove()]);
  for (const next of [...to.childNodes]) {
    const named = known.get(next.id);
    while (named && at !== named && at && !at.id) drop(); // moving a node would take its focus
    const twin = next.id ? named : at && !at.id && at.nodeName === next.nodeName ? at : null;
    if (!twin) from.insertBefore(next, at);
    else {
      if (twin === at) at = at.nextSibling;
      else from.insertBefore(twin, at);
      morph(twin, next);
    }
  }
  while (at) drop();
}

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    morph(target, fragment.firstElementChild);
    tellTimes();
    return [target];
  },
});

// Requests that no person asked for must not keep an idle session alive.
document.addEventListener("htmx:configRequest", ({ detail }) => {
  const cause = detail.triggeringEvent?.type;
  if (!cause || cause === "live") detail.headers["X-Background"] = "1";
  // htmx remembers the address from when it first saw the region; people have moved on since.
  if (detail.elt.id === "live") detail.path = detail.elt.getAttribute("hx-get");
  if (detail.verb === "get") for (const [name, value] of [...detail.formData]) if (!value) detail.formData.delete(name);
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  // What many people get alike has no form token; this page's own comes beside it.
  const token = detail.xhr.getResponseHeader("X-Form-Token");
  if (token) detail.serverResponse = detail.serverResponse.replaceAll('name="_csrf" value="of-the-page"', `name="_csrf" value="${token}"`);
  // A refresh that was under way when a person went elsewhere comes too late: ask again.
  const { elt, path } = detail.requestConfig;
  if (elt.id !== "live" || path === one("#live").getAttribute("hx-get")) return;
  detail.shouldSwap = false;
  htmx.trigger(document.body, "live");
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const cause = detail.requestConfig.triggeringEvent;
  if (detail.requestConfig.elt.id === "live") return;
  const target = document.getElementById(detail.target.id) || document;
  const aim = one("[aria-invalid=true], [data-focus]", target);
  const typed = cause?.type === "input"; // nobody is to lose the place where they type
  if (detail.requestConfig.verb === "post" && aim && !typed) aim.focus();
  if (cause?.target.closest?.("[data-opens]")) one("#drawer-title")?.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !one(":popover-open, dialog[open]") && !event.target.matches("input, select, textarea")) one("[data-closes]")?.click();
});

const UNITS = [[90, 1, "s"], [5400, 60, "min"], [129600, 3600, "h"], [Infinity, 86400, "d"]];
function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const [, length, unit] = UNITS.find(([limit]) => whole < limit);
  return `${Math.floor(whole / length)} ${unit}`;
}
const WAYS = {
  relative(moment) {
    const seconds = (moment - Date.now()) / 1000;
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
  },
  due: (moment) => (moment <= Date.now() ? "now" : WAYS.relative(moment)),
  age: (moment) => span((Date.now() - moment) / 1000),
  clock: (moment) => moment.toLocaleTimeString("en-GB"),
  minute: (moment) => moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }),
  date: (moment) => moment.toLocaleDateString("en-GB", { day: "2-digit", month: "short" }),
  day: (moment) =>
    moment.toLocaleString("en-GB", { day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }),
};
function tellTimes() {
  for (const time of all("time[data-as]")) {
    const text = WAYS[time.dataset.as](new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

const stream = { source: null, open: false, heard: 0, fresh: Date.now(), tried: 0, asked: 0, due: 0 };
function connect() {
  stream.source?.close();
  stream.tried = Date.now();
  stream.source = new EventSource("/live");
  for (const name of ["hello", "alive", "tick"])
    stream.source.addEventListener(name, () => {
      stream.heard = stream.fresh = Date.now();
      stream.open = true;
      if (name !== "alive") refresh();
      tellStream();
    });
  stream.source.onerror = () => void (stream.open = false);
}
// One look a second at most, however busy the tenant; none for a page that nobody sees.
function refresh() {
  if (stream.due || document.hidden) return;
  stream.due = setTimeout(() => {
    stream.due = 0;
    stream.asked = Date.now();
    htmx.trigger(document.body, "live");
  }, Math.max(0, stream.asked + GAP_MS - Date.now()));
}
function tellStream() {
  const badge = one("#stream");
  const now = Date.now();
  const state = stream.open ? "live" : now - stream.fresh < STALE_MS ? "reconnecting" : "stale";
  const words = { live: "Live", reconnecting: "Reconnecting", stale: `Stale since ${WAYS.minute(new Date(stream.fresh))}` }[state];
  if (one("b", badge).textContent !== words) one("b", badge).textContent = words;
  badge.className = `stream ${state}`;
  const since = now - stream.fresh < 1500 ? "now" : `${span((now - stream.fresh) / 1000)} ago`;
  one("[data-updated]", badge).textContent = state === "stale" ? "" : `updated ${since}`;
}
function watch() {
  one("#stream").hidden = false;
  document.addEventListener("htmx:afterOnLoad", ({ detail }) => {
    if (detail.xhr.status < 400) stream.fresh = Date.now();
  });
  document.addEventListener("visibilitychange", refresh);
  addEventListener("pagehide", () => stream.source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
  setInterval(() => stream.open || refresh(), POLL_MS);
  setInterval(() => {
    if (stream.open && Date.now() - stream.heard > SILENCE_MS) stream.open = false;
    if (!stream.open && Date.now() - stream.tried > POLL_MS) connect();
    tellStream();
  }, 1000);
  connect();
}

function toast({ text, bad }) {
  const line = Object.assign(document.createElement("p"), { className: bad ? "toast bad" : "toast", textContent: text });
  one("#toasts").append(line);
  setTimeout(() => line.remove(), 6000);
}
document.addEventListener("toast", ({ detail }) => toast({ text: detail.text ?? detail.value, bad: detail.bad }));
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
    button.dispatchEvent(new Event("copied", { bubbles: true }));
    setTimeout(() => (button.textContent = "Copy"), 2000);
  } catch {
    getSelection().selectAllChildren(text); // not allowed to write: let them press the keys
  }
});

addEventListener("beforeprint", () => {
  for (const time of all("[data-printed] time")) time.dateTime = new Date().toISOString();
  tellTimes();
});
all("#toasts .toast").forEach((line) => setTimeout(() => line.remove(), 6000));
tellTimes();
setInterval(tellTimes, 1000);
if (one("#stream")) watch();
