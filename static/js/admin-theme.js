// Dark before the first paint, for those who follow their system.
(() => {
  const root = document.documentElement;
  if (root.dataset.theme !== "system") return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => root.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", apply);
  apply();
})();
