// Keeps the open thread and the list fresh; without it, reload the page.
"use strict";
const EVERY_MS = 1500;

async function refresh(box) {
  const response = await fetch(box.dataset.refresh, { cache: "no-store" });
  if (!response.ok) return;
  const html = await response.text();
  if (box.dataset.last === html) return;
  if (box.dataset.last !== undefined) box.innerHTML = html;
  box.dataset.last = html;
}

async function tick() {
  if (!document.hidden) {
    const boxes = document.querySelectorAll("[data-refresh]");
    await Promise.allSettled(Array.from(boxes, refresh));
  }
  setTimeout(tick, EVERY_MS);
}

tick();
