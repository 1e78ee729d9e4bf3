/* What every page can do: keys, dialogs, menus, toasts, focus, errors. Behaviour hangs on data
   attributes, so that a page needs no script of its own. */
(() => {
  "use strict";
  const body = document.body;
  const counters = (window.__lo = { sounds: 0, notes: 0 });
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const visible = (element) => element.checkVisibility
    ? element.checkVisibility({ visibilityProperty: true })
    : element.getClientRects().length > 0;
  const field = (element) =>
    element instanceof HTMLElement &&
    (element.isContentEditable || element.matches("input, textarea, select"));
  counters.visible = visible;

  /* ---- toasts ---- */

  const icon = () => {
    const some = document.querySelector("svg.icon use");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    if (some) use.setAttribute("href", `${some.getAttribute("href").split("#")[0]}#x`);
    svg.append(use);
    return svg;
  };

  const toast = (text, kind = "ok") => {
    const line = document.createElement("div");
    const words = document.createElement("span");
    const close = document.createElement("button");
    line.className = `toast toast--${kind}`;
    line.dataset.toast = "";
    line.dataset.timeout = "8000";
    words.textContent = text;
    close.type = "button";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.append(icon());
    line.append(words, close);
    const toasts = byId("toasts");
    // The same sentence twice says nothing new.
    all("[data-toast]", toasts).filter((old) => old.textContent === text).forEach((old) => old.remove());
    toasts.append(line);
  };
  counters.toast = toast;

  const keep = (line) => {
    if (line.dataset.kept) return;
    line.dataset.kept = "1";
    let left = Number(line.dataset.timeout) || 8000;
    const tick = setInterval(() => {
      if (line.matches(":hover, :focus-within")) return;
      left -= 500;
      if (left <= 0 || !line.isConnected) { clearInterval(tick); line.remove(); }
    }, 500);
  };
  const toasts = byId("toasts");
  if (toasts) {
    const adopt = () => all("[data-toast]", toasts).forEach(keep);
    new MutationObserver(adopt).observe(toasts, { childList: true });
    adopt();
  }
  body.addEventListener("lo:toast", ({ detail }) => toast(detail.text || detail.value, detail.kind));

  /* ---- requests ---- */

  const busy = (event, on) => {
    const { target } = event.detail;
    if (!target || target === body) return;
    if (on) target.setAttribute("aria-busy", "true");
    else target.removeAttribute("aria-busy");
  };
  const quiet = (element) => Boolean(element && element.matches("[hx-trigger*='lo:']"));

  const loginAgain = () => {
    const dialog = byId("login-again");
    if (dialog && !dialog.open) dialog.showModal();
  };
  counters.loginAgain = loginAgain;

  body.addEventListener("htmx:beforeRequest", (event) => busy(event, true));
  body.addEventListener("htmx:afterRequest", (event) => busy(event, false));
  body.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    const login = body.dataset.loginUrl;
    if (login && new URL(xhr.responseURL || "/", location.href).pathname === login) {
      event.detail.shouldSwap = false;
      loginAgain();
    }
  });
  body.addEventListener("htmx:responseError", (event) => {
    const { xhr, elt } = event.detail;
    if (xhr.status === 401) { loginAgain(); return; }
    if (quiet(elt)) return;
    const id = xhr.getResponseHeader("X-Correlation-Id");
    const words = {
      403: "You may not do that.",
      404: "That is no longer there.",
      413: "That is too large.",
    }[xhr.status] || "That did not work. Nothing was changed.";
    toast(id && xhr.status >= 500 ? `${words} (${id})` : words, "error");
  });
  body.addEventListener("htmx:sendError", (event) => {
    if (!quiet(event.detail.elt)) toast("No connection. Nothing was changed.", "error");
  });

  /* ---- focus ---- */

  let focused = null;
  const remember = (event) => {
    const active = document.activeElement;
    const { target } = event.detail;
    if (!active || active === body || !target || !target.contains(active)) return;
    const named = active.id ? active : active.closest("[id]");
    focused = named && named.id;
  };
  const restore = () => {
    const id = focused;
    if (!id || (document.activeElement && document.activeElement !== body)) return;
    const found = byId(id);
    if (!found) return;
    focused = null;
    const target = found.matches("a, button, input, textarea, select, summary, [tabindex]")
      ? found : found.querySelector("a, button, input, textarea");
    if (target) target.focus({ preventScroll: true });
  };
  ["htmx:beforeSwap", "htmx:oobBeforeSwap"].forEach((name) => body.addEventListener(name, remember));
  ["htmx:afterSettle", "htmx:oobAfterSwap"].forEach((name) => body.addEventListener(name, restore));
  body.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.xhr && event.detail.xhr.status === 422) {
      const wrong = event.detail.target.querySelector("[aria-invalid='true']");
      if (wrong) wrong.focus();
    }
  });

  /* ---- dialogs, menus, copying ---- */

  const open = (opener, id) => {
    const dialog = byId(id);
    if (!dialog || dialog.open) return;
    dialog.showModal();
    dialog.addEventListener("close", () => {
      // A menu that held the opener may be shut by now.
      const menu = opener.closest("details:not([open])");
      (menu ? menu.querySelector("summary") : opener).focus();
    }, { once: true });
  };

  const closeMenus = (except) => all("details.menu[open]").forEach((menu) => {
    if (menu !== except) menu.open = false;
  });

  const copy = async (button) => {
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    const text = source ? (source.value ?? source.textContent) : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      if (source && source.select) source.select();
      toast("Press Ctrl+C to copy", "info");
    }
  };

  document.addEventListener("click", (event) => {
    const { target } = event;
    if (!(target instanceof Element)) return;
    const menu = target.closest("details.menu");
    closeMenus(menu);
    if (menu && target.closest(".menu__list a, .menu__list button")) menu.open = false;
    const opener = target.closest("[data-dialog]");
    if (opener) { event.preventDefault(); open(opener, opener.dataset.dialog); }
    const closer = target.closest("[data-close]");
    const dialog = closer && closer.closest("dialog");
    if (dialog) dialog.close();
    if (target instanceof HTMLDialogElement) target.close();
    const copier = target.closest("[data-copy], [data-copy-from]");
    if (copier) copy(copier);
    const shown = target.closest("[data-toast]");
    if (shown && target.closest("[data-dismiss], [data-undo]")) {
      // Its request is still to be answered, and the answer speaks to the button.
      setTimeout(() => { shown.hidden = true; });
      setTimeout(() => shown.remove(), 10000);
    }
  });

  /* Permission for desktop notes is asked for here alone: never on load. */
  document.addEventListener("change", ({ target }) => {
    if (!(target instanceof Element) || !target.matches("[data-desktop-choice]")) return;
    if (!target.checked || !("Notification" in window)) return;
    if (Notification.permission === "denied") toast("This browser blocks notes from here.", "info");
    if (Notification.permission === "default") Notification.requestPermission();
  });

  /* ---- keys ---- */

  let going = 0;
  const press = (element) => {
    if (!element) return false;
    if (field(element)) { element.focus(); element.select?.(); } else element.click();
    return true;
  };
  const withKey = (attribute, key) =>
    all(`[${attribute}="${CSS.escape(key)}"]`).find((element) =>
      visible(element) || element.classList.contains("visually-hidden"));

  const escape = (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (!menu) return false;
    menu.open = false;
    menu.querySelector("summary").focus();
    return true;
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Escape" && escape(event)) { event.preventDefault(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (body.dataset.shortcuts !== "on" || field(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (going && Date.now() - going < 1000) {
      going = 0;
      if (press(withKey("data-go", event.key))) event.preventDefault();
      return;
    }
    if (event.key === "g") { going = Date.now(); return; }
    if (press(withKey("data-key", event.key))) event.preventDefault();
  });

  /* ---- times ---- */

  const span = (seconds) => {
    if (seconds < 60) return "now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  };
  const retell = () => all("time[data-ago]").forEach((time) => {
    const text = span((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  });
  setInterval(() => { if (!document.hidden) retell(); }, 30000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) retell(); });
})();
