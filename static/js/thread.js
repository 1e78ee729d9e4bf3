/* The inbox: moving over rows, scroll of the thread, what counts as seen. */
(() => {
  "use strict";
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  const NEAR = 80, DWELL = 1000;
  const links = () => [...document.querySelectorAll("#rows a.row__link")];
  const scroller = () => byId("msgs-scroll");
  const pane = () => byId("thread-pane");

  /* ---- rows ---- */

  const step = (by) => {
    const rows = links();
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const current = rows.findIndex((row) => row.hasAttribute("aria-current"));
    // Before anything is open or focused one stands at the first row.
    const from = at >= 0 ? at : Math.max(current, 0);
    const to = Math.min(Math.max(from + by, 0), rows.length - 1);
    rows[to].focus({ preventScroll: true });
    rows[to].scrollIntoView({ block: "nearest" });
  };

  const back = () => {
    const row = document.querySelector("#rows a.row__link[aria-current]");
    if (row && window.__lo.visible(row)) { row.focus(); return true; }
    const link = document.querySelector("[data-back]");
    if (link && window.__lo.visible(link)) { link.click(); return true; }
    return false;
  };

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && target.closest("#thread, #context")) {
      if (back()) event.preventDefault();
      return;
    }
    if (body.dataset.shortcuts !== "on" || !byId("rows")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "o" && target.matches("#rows a.row__link")) target.click();
    else if (event.key === "Enter" && target === body && !pane()) links()[0]?.click();
    else return;
    event.preventDefault();
  });

  body.addEventListener("lo:rows", () => {
    const rows = byId("new-pill")?.getAttribute("hx-get");
    if (rows) window.htmx.ajax("GET", rows, { target: "#rows", swap: "innerHTML" }).catch(() => {});
  });

  const mark = () => {
    const open = pane()?.dataset.conversation;
    links().forEach((link) => {
      if (open && link.id === `open-${open}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };

  /* Done and snooze go on to the next conversation; on a narrow screen back to the list. */
  body.addEventListener("lo:closed", (event) => {
    const link = document.querySelector("[data-back]");
    if (link && window.__lo.visible(link)) { link.click(); return; }
    const rows = links();
    const at = rows.findIndex((row) => row.id === `open-${event.detail.conversation}`);
    const next = at < 0 ? null : rows[at + 1] || rows[at - 1];
    if (!next) return;
    next.click();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  });

  /* ---- scroll ---- */

  let pinned = true, before = null;
  const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight <= NEAR;
  const toEnd = () => {
    const box = scroller();
    if (box) box.scrollTop = box.scrollHeight;
    const pill = byId("new-below");
    if (pill) pill.hidden = true;
  };

  const watch = () => {
    const box = scroller();
    if (!box || box.dataset.watched) return;
    box.dataset.watched = "1";
    toEnd();
    box.addEventListener("scroll", () => {
      const pill = byId("new-below");
      if (pill && !pill.hidden && atEnd(box)) { pill.hidden = true; see(); }
    }, { passive: true });
  };

  /* Two answers may bring the same line, one's own reply for one: it is added once. */
  const dedupe = (fragment, target) => {
    if (fragment.firstElementChild?.id === target.id) return;  // a whole new list
    fragment.querySelectorAll("li[id]").forEach((line) => byId(line.id) && line.remove());
  };

  body.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id === "msgs" || target.id === "rows") dedupe(fragment, target);
    const box = scroller();
    if (box && target.id === "msgs") pinned = atEnd(box);
  });
  body.addEventListener("htmx:oobAfterSwap", (event) => {
    const box = scroller();
    if (!box || event.detail.target.id !== "msgs") return;
    if (pinned) toEnd();
    else if (byId("new-below")) byId("new-below").hidden = false;
    see();
  });
  // Older messages come in above: what is being read stays where it is.
  body.addEventListener("htmx:beforeSwap", (event) => {
    const box = scroller();
    const target = event.detail.target;
    before = box && target && (target.id === "older" || target.id === "msgs" && event.detail.elt.closest("#older"))
      ? box.scrollHeight - box.scrollTop : null;
  });
  body.addEventListener("htmx:afterSwap", () => {
    const box = scroller();
    if (box && before !== null) box.scrollTop = box.scrollHeight - before;
    before = null;
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#new-below")) return;
    event.preventDefault();
    toEnd();
    see();
  });

  /* ---- seen ---- */

  let dwell = 0;
  const see = () => {
    const shown = pane();
    clearTimeout(dwell);
    if (!shown || !shown.dataset.seenUrl || document.hidden) return;
    dwell = setTimeout(() => {
      if (shown !== pane() || document.hidden || !window.__lo.visible(shown)) return;
      const pill = byId("new-below");
      if (pill && !pill.hidden) return; // it has not been looked at yet
      shown.dataset.unread = "0";
      window.htmx.ajax("POST", shown.dataset.seenUrl, { source: shown, swap: "none" })
        .catch(() => { shown.dataset.unread = "1"; });
    }, DWELL);
  };
  const seeIfUnread = () => { if (pane()?.dataset.unread === "1") see(); };
  document.addEventListener("visibilitychange", seeIfUnread);
  body.addEventListener("lo:hint", ({ detail }) => {
    if (detail.k === "inbound" && detail.c === pane()?.dataset.conversation) {
      pane().dataset.unread = "1";
      seeIfUnread();
    }
  });

  /* ---- opening a thread ---- */

  body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "thread") return;
    mark();
    watch();
    pane()?.focus({ preventScroll: true });
    seeIfUnread();
  });
  body.addEventListener("htmx:afterSettle", () => { watch(); mark(); });
  body.addEventListener("htmx:oobAfterSwap", (event) => {
    if (event.detail.target.id.startsWith("row-")) mark();
  });
  watch();
  seeIfUnread();
})();
