// The admin's own behavior: menus that close, an address that copies, widgets that speak.
(() => {
  const closeMenus = (but) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(but)) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.activeElement?.closest("details.menu[open]");
    closeMenus(null);
    menu?.querySelector("summary").focus();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
  });

  // Parts of Unfold's and Django's widgets that a keyboard or a screen reader cannot use.
  const speak = (root) => {
    for (const icon of root.querySelectorAll(".material-symbols-outlined")) {
      icon.setAttribute("aria-hidden", "true");
    }
    for (const part of root.querySelectorAll("div[x-on\\:click], span[x-on\\:click]")) {
      if (part.matches("button, a, summary")) continue;
      part.setAttribute("role", "button");
      part.tabIndex = 0;
      part.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          part.click();
        }
      });
    }
    for (const input of root.querySelectorAll("input.vDateField, input.vTimeField")) {
      const name = nameOf(input);
      const part = input.classList.contains("vDateField") ? "date" : "time";
      if (name) input.setAttribute("aria-label", `${name}, ${part}`);
    }
    for (const link of root.querySelectorAll(".datetimeshortcuts a[href='#']")) {
      link.setAttribute("role", "button");
    }
  };
  // The picker of related records says neither what it is nor what it controls.
  const nameOf = (field) => field.closest(".prop")?.querySelector(".prop__name")?.firstChild?.textContent.trim();
  const speakPickers = () => {
    for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
      const box = select.nextElementSibling?.querySelector(".select2-selection");
      if (!box) continue;
      box.removeAttribute("aria-labelledby");
      for (const text of box.querySelectorAll("[role=textbox]")) {
        text.removeAttribute("role");
        text.removeAttribute("aria-readonly");
      }
      box.setAttribute("aria-label", `${nameOf(select)}: ${box.textContent.trim() || "nothing chosen"}`);
      box.setAttribute("aria-controls", `select2-${select.id}-results`);
    }
    for (const input of document.querySelectorAll(".select2-search__field")) {
      input.setAttribute("aria-label", "Search by name, phone or id");
    }
    for (const text of document.querySelectorAll(".select2-results__message[role=alert]")) {
      text.setAttribute("role", "option");
      text.removeAttribute("aria-live");
    }
    for (const list of document.querySelectorAll(".select2-results__options[aria-expanded]")) {
      list.removeAttribute("aria-expanded");
      list.setAttribute("aria-label", "Matches");
    }
  };
  if (document.querySelector("select.admin-autocomplete")) {
    new MutationObserver(speakPickers).observe(document.body, { childList: true, subtree: true });
    addEventListener("load", speakPickers);
  }

  for (const cell of document.querySelectorAll("[data-label]")) {
    const label = cell.dataset.label;
    cell.dataset.label = label.charAt(0).toUpperCase() + label.slice(1);
  }
  speak(document);
  addEventListener("load", () => speak(document));
})();
