/* The composer: counts, keeps the draft on the server, claims while typing, sends once. Nothing
   here ever empties the field but an accepted send. */
(() => {
  "use strict";
  const body = document.body;
  const composer = () => document.getElementById("composer");
  const text = (form) => form && form.querySelector("textarea[name=body]");
  const mine = (element) => element instanceof Element && element.closest("[data-composer]");
  const DRAFT = 1000, CLAIM = 30000, TALLEST = 240;
  const saved = new WeakMap();
  let timer = 0, claimed = 0;

  /* ---- counter and height ---- */

  const rules = window.fairleadSegments;
  const LIMITS = { "GSM-7": [160, 153], "UCS-2": [70, 67] };

  /* Curly quotes and dashes make a text twice as dear: offer the plain ones. */
  const offer = (form, possible) => {
    let button = form.querySelector("[data-plain]");
    if (!possible) { if (button) button.remove(); return; }
    if (button) return;
    button = document.createElement("button");
    button.type = "button";
    button.className = "button button--quiet";
    button.dataset.plain = "";
    button.textContent = "Use plain characters";
    form.querySelector("[data-segments]").after(button);
  };
  document.addEventListener("click", (event) => {
    const form = event.target.closest?.("[data-plain]") && mine(event.target);
    if (!form) return;
    text(form).value = rules.toGsm(text(form).value);
    text(form).dispatchEvent(new Event("input", { bubbles: true }));
    text(form).focus();
  });

  const measure = (form) => {
    const field = text(form);
    const line = form.querySelector("[data-segments]");
    const button = form.querySelector("#send, [type=submit]");
    if (!CSS.supports("field-sizing", "content")) {
      field.style.height = "auto";
      field.style.height = `${Math.min(field.scrollHeight + 2, TALLEST)}px`;
    }
    if (!line || !rules) return;
    const { encoding, units, segments, first_offender: odd } = rules.count(field.value);
    const most = Number(line.dataset.maxSegments) || 6;
    const over = segments > most;
    const [single, part] = LIMITS[encoding];
    const room = segments > 1 ? segments * part : single;
    let words = `${units} of ${room}, ${segments} ${segments === 1 ? "segment" : "segments"}, ${encoding}`;
    if (odd) words += ` because of ${odd}`;
    if (over) words += `. At most ${most} segments can be sent.`;
    line.textContent = words;
    offer(form, odd && rules.count(rules.toGsm(field.value)).encoding === "GSM-7");
    line.classList.toggle("counter--over", over);
    if (button && !form.dataset.sending) button.disabled = over;
  };

  /* ---- draft ---- */

  const token = () => document.querySelector("meta[name=csrf-token]")?.content || "";

  const save = (form, keepalive = false) => {
    clearTimeout(timer);
    const field = text(form);
    if (!field || !form.dataset.draftUrl || form.dataset.sending || saved.get(form) === field.value) return;
    saved.set(form, field.value);
    fetch(form.dataset.draftUrl, {
      method: "PUT",
      keepalive,
      headers: { "X-CSRFToken": token(), "HX-Request": "true" },
      // The key tells the server a draft of what was sent meanwhile: that one must not come back.
      body: new URLSearchParams({ body: field.value, send_key: form.elements.send_key?.value || "" }),
    }).then((answer) => {
      if (answer.status === 401) window.__lo.loginAgain();
      if (!answer.ok) saved.delete(form);
    }).catch(() => saved.delete(form));
  };

  const claim = (form) => {
    if (!form.dataset.claimUrl || Date.now() - claimed < CLAIM) return;
    claimed = Date.now();
    // From outside of the form, whose Send button would be off meanwhile.
    window.htmx.ajax("POST", form.dataset.claimUrl, { source: form.parentElement, swap: "none" })
      .catch(() => {});
  };

  /* ---- what the person does ---- */

  document.addEventListener("input", (event) => {
    const form = mine(event.target);
    if (!form || event.target !== text(form)) return;
    measure(form);
    if (event.target.value) claim(form);
    clearTimeout(timer);
    timer = setTimeout(() => save(form), DRAFT);
  });
  document.addEventListener("focusout", (event) => {
    const form = mine(event.target);
    if (form && event.target === text(form)) save(form);
  });
  // What could not be saved during an outage.
  body.addEventListener("lo:state", ({ detail }) => {
    const form = composer();
    if (detail === "live" && form) save(form);
  });
  addEventListener("pagehide", () => { const form = composer(); if (form) save(form, true); });

  document.addEventListener("keydown", (event) => {
    const form = mine(event.target);
    if (!form || event.target !== text(form) || event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      (document.getElementById("thread-pane") || body).focus({ preventScroll: true });
    }
  }, true);

  /* Why a text stays here: null when it may go, "" when it is on its way already. */
  const hindrance = (form) => {
    if (form.dataset.sending) return "";
    const body = text(form).value.trim();
    const down = document.getElementById("connection");
    if (down && !down.hidden) return "No connection. Your reply is kept as a draft.";
    if (!body) return "Write something first.";
    const gap = /\{\{\s*([^{}]+?)\s*\}\}/.exec(body);
    return gap ? `Fill in \u201c${gap[1]}\u201d first: the lead has no value for it.` : null;
  };

  /* A second Enter while the first text is on its way must not queue behind it. */
  document.addEventListener("submit", (event) => {
    const form = mine(event.target);
    if (!form || event.submitter?.name === "take_over") return;
    const note = form.querySelector("#composer-note");
    const why = hindrance(form);
    if (note && why !== "") note.textContent = why ?? "";
    if (why === null) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  body.addEventListener("htmx:beforeRequest", (event) => {
    const form = event.detail.elt;
    if (form.matches("[data-composer]") && event.detail.requestConfig.path === form.getAttribute("hx-post")) {
      clearTimeout(timer);
      form.dataset.sending = "1";
    }
  });
  body.addEventListener("htmx:afterRequest", (event) => {
    const form = event.detail.elt;
    if (!form.matches("[data-composer]")) return;
    if (event.detail.requestConfig.path !== form.getAttribute("hx-post")) return;
    delete form.dataset.sending;
    measure(form);
  });
  body.addEventListener("lo:sent", () => {
    const form = composer();
    const field = text(form);
    if (!field) return;
    field.value = "";
    claimed = 0;
    saved.set(form, "");
    measure(form);
    field.focus({ preventScroll: true });
  });

  /* ---- what the server does ---- */

  let typed = null;
  body.addEventListener("htmx:oobBeforeSwap", (event) => {
    const form = event.detail.target.querySelector?.("[data-composer]");
    if (form && event.detail.target.id === "composer-area") {
      clearTimeout(timer);
      typed = text(form).value;
    }
  });
  body.addEventListener("htmx:oobAfterSwap", () => {
    const banner = document.querySelector("#composer-area [data-optout-banner]");
    if (typed === null || !banner) return;
    const copy = banner.querySelector("[data-draft-copy]");
    if (copy && typed) {
      copy.value = typed;
      const wrap = banner.querySelector("[data-draft-wrap]");
      if (wrap) wrap.hidden = false;
    }
    typed = null;
  });

  const begin = () => {
    const form = composer();
    if (!form || saved.has(form)) return;
    saved.set(form, text(form).value);
    claimed = 0;
    measure(form);
  };
  body.addEventListener("htmx:beforeSwap", (event) => {
    const form = event.detail.shouldSwap && event.detail.target.querySelector?.("[data-composer]");
    if (form) save(form, true);
  });
  body.addEventListener("htmx:afterSettle", begin);
  body.addEventListener("htmx:oobAfterSwap", (event) => {
    begin();
    if (event.detail.target.id === "send-slot" && composer()) measure(composer());
  });
  begin();
})();
