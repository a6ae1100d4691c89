// Asks every two seconds for what arrived after the newest row; open rows stay open.
const KEPT = 500;
const list = document.getElementById("rows");

async function refresh() {
  try {
    const answer = await fetch(`/rows?after=${list.dataset.newest}`);
    if (answer.ok) show(await answer.text());
  } catch {
    // The receiver was stopped; the next round asks again.
  }
  setTimeout(refresh, 2000);
}

function show(html) {
  if (!html.trim()) return;
  list.insertAdjacentHTML("afterbegin", html);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  list.dataset.newest = list.firstElementChild.dataset.id;
  document.getElementById("count").textContent = list.children.length;
  document.getElementById("empty").hidden = true;
}

refresh();
