// A filter takes many patterns in one field; a datalist alone would complete only the first.
"use strict";

for (const kind of ["focusin", "input"])
  document.addEventListener(kind, ({ target }) => {
    if (!target.matches?.("input[data-many]") || !target.list) return;
    const head = target.value.match(/^.*[\s,]/)?.[0] ?? "";
    for (const option of target.list.options) option.value = head + (option.dataset.own ??= option.value);
  });
