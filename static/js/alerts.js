/* Telling a person that somebody wrote: title, bell, status region, sound, desktop note. What
   rings: a text for me, in a stage I work, that no tab of mine is looking at and nobody muted. */
(() => {
  "use strict";
  const body = document.body;
  const told = window.__lo;
  const byId = (id) => document.getElementById(id);
  const badges = () => [...document.querySelectorAll("[id^='cnt-']")];
  const SPEAK = 15000, SOUND = 10000, LOOK = 150;

  /* ---- title ---- */

  const count = () => badges()
    .filter((badge) => badge.dataset.muted !== "1" && !badge.classList.contains("badge--muted"))
    .reduce((sum, badge) => sum + (Number(badge.dataset.count) || 0), 0);
  const title = () => {
    const unread = count();
    const plain = document.title.replace(/^\(\d+\+?\) /, "");
    const wanted = unread ? `(${unread}) ${plain}` : plain;
    if (document.title !== wanted) document.title = wanted;
    if (unread) navigator.setAppBadge?.(unread).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  };

  /* The bell in the header shows what the rail says of its stage. */
  const bell = () => {
    const source = byId(`cnt-${body.dataset.stage}`), shown = byId(`bell-${body.dataset.stage}`);
    if (!source || !shown) return;
    shown.className = source.className;
    shown.hidden = source.hidden;
    shown.dataset.count = source.dataset.count;
    shown.replaceChildren(...[...source.childNodes].map((node) => node.cloneNode(true)));
    byId("bell")?.setAttribute("aria-label",
      `${source.dataset.label} notifications, ${source.dataset.count} unread`);
  };
  const words = { live: "live", retrying: "reconnecting", off: "off" };
  const connection = () => document.querySelectorAll("[data-live-word]").forEach((word) => {
    word.textContent = words[body.dataset.liveState] || "connecting";
  });
  const sync = () => { title(); bell(); connection(); };
  ["htmx:afterSettle", "htmx:oobAfterSwap", "htmx:pushedIntoHistory", "lo:state"].forEach((name) =>
    body.addEventListener(name, () => queueMicrotask(sync)));
  title();

  /* ---- status region: one sentence at most every 15 s ---- */

  const heard = new Map();
  let spoken = 0, waiting = 0;
  const speak = () => {
    waiting = 0;
    if (!heard.size) return;
    spoken = Date.now();
    const parts = [...heard].map(([stage, number]) =>
      `${number} new ${number === 1 ? "response" : "responses"} in ${stage}`);
    heard.clear();
    byId("status").textContent = parts.join(", ");
  };
  const announce = (stage, number) => {
    heard.set(stage, (heard.get(stage) || 0) + number);
    if (!waiting) waiting = setTimeout(speak, Math.max(0, spoken + SPEAK - Date.now()));
  };

  /* ---- ring ---- */

  const channel = "BroadcastChannel" in window
    ? new BroadcastChannel(`bell-${body.dataset.tenant}-${body.dataset.actor}`) : null;
  const rang = new Map();
  let looking = false;
  if (channel) channel.onmessage = ({ data }) => { if (data === "looking") looking = true; };

  const beep = () => {
    told.sounds += 1;
    try {
      const audio = new AudioContext();
      const tone = audio.createOscillator();
      const gain = audio.createGain();
      tone.frequency.value = 880;
      gain.gain.setValueAtTime(0.08, audio.currentTime);
      gain.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.35);
      tone.connect(gain).connect(audio.destination);
      tone.start();
      tone.stop(audio.currentTime + 0.35);
      tone.onended = () => audio.close();
    } catch { /* no sound device: the badge is enough */ }
  };

  const note = (stage, label) => {
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    told.notes += 1;
    // No name and no text: a note may be read over a shoulder.
    const shown = new Notification(`New response in ${label}`, { tag: `fairlead-${stage}` });
    shown.onclick = () => { window.focus(); shown.close(); };
  };

  const alarm = (stage, badge) => {
    const { sound, desktop, label } = badge.dataset;
    if (Date.now() - (rang.get(stage) || 0) < SOUND) return;
    rang.set(stage, Date.now());
    const hidden = !looking && document.hidden;
    if (sound === "always" || (sound === "hidden" && hidden)) beep();
    if (desktop === "1" && hidden) note(stage, label || stage);
  };

  const shake = () => {
    const bell = byId("bell");
    if (!bell) return;
    bell.classList.remove("bell--ring");
    requestAnimationFrame(() => bell.classList.add("bell--ring"));
  };

  /* A hint says where something arrived; whether it is for me say the counters fetched after it. */
  const stamp = (badge) => Number(badge.dataset.newest ?? badge.dataset.count) || 0;
  const newest = new Map(badges().map((badge) => [badge.id, stamp(badge)]));
  const arrived = new Map();
  const ring = (badge) => {
    const stage = badge.dataset.stage;
    const threads = arrived.get(stage) || []; // none: it was I who marked it unread
    if (!threads.length) return;
    arrived.delete(stage);
    announce(badge.dataset.label || stage, threads.length);
    const open = document.hidden ? null : byId("thread-pane")?.dataset.conversation;
    if (open && threads.every((thread) => thread === open)) return;
    if (badge.dataset.muted === "1") return;
    if (body.dataset.stage === stage) shake();
    // One tab makes the noise: the one that holds the stream.
    if (body.dataset.liveLeader !== "1") return;
    looking = false;
    setTimeout(() => alarm(stage, badge), LOOK);
  };
  const compare = () => badges().forEach((badge) => {
    const grown = stamp(badge) > newest.get(badge.id);
    newest.set(badge.id, stamp(badge));
    if (grown) ring(badge);
  });
  body.addEventListener("lo:hint", ({ detail }) => {
    if (detail.k !== "inbound" || detail.old) return;
    arrived.set(detail.s, [...(arrived.get(detail.s) || []).slice(-20), detail.c]);
    if (!document.hidden) channel?.postMessage("looking");
  });
  body.addEventListener("htmx:oobAfterSwap", () => queueMicrotask(compare));

  /* ---- the popover ---- */

  const panel = () => byId("bell-panel");
  const close = (focus) => {
    const bell = byId("bell");
    if (!panel()?.firstElementChild) return;
    panel().replaceChildren();
    bell?.setAttribute("aria-expanded", "false");
    if (focus) bell?.focus();
  };
  document.addEventListener("click", (event) => {
    const { target } = event;
    if (!(target instanceof Element) || !target.isConnected) return;
    const bell = target.closest("#bell");
    if (bell && panel()?.firstElementChild) {
      event.preventDefault();
      event.stopImmediatePropagation();
      close(true);
    } else if (!bell && !target.closest("#bell-panel")) close(false);
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel()?.firstElementChild) return;
    if (!event.target.closest("#bell-panel, #bell")) return;
    if (event.target.closest("details.menu[open]")) return;
    event.preventDefault();
    event.stopPropagation();
    close(true);
  }, true);
  body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "bell-panel") return;
    const first = byId("bell")?.getAttribute("aria-expanded") !== "true";
    byId("bell")?.setAttribute("aria-expanded", "true");
    if (first) panel().querySelector("#bell-popover")?.focus({ preventScroll: true });
  });
})();
