"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { theme.textContent = dark() ? "Light colours" : "Dark colours"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  theme.hidden = false;
  name();

  // A region takes a tab stop only while there is something to scroll to.
  const regions = [...document.querySelectorAll(".scroll")];
  const stops = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }));
  regions.forEach((region) => stops.observe(region));

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));

  const list = document.getElementById("mistake-list");
  if (!list) return;
  const [search, model, label, order, count] = ["search", "by-model", "by-class", "order", "count"].map((id) => document.getElementById(id));
  const mistakes = [...list.children];
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const orders = {
    listed: () => 0,
    surest: (a, b) => b.dataset.probability - a.dataset.probability,
    least: (a, b) => a.dataset.probability - b.dataset.probability,
    path: (a, b) => compare(a.dataset.path, b.dataset.path),
    actual: (a, b) => compare(a.dataset.actual, b.dataset.actual) || compare(a.dataset.path, b.dataset.path),
  };
  const show = () => {
    const text = search.value.trim().toLowerCase();
    const fits = ({ dataset }) =>
      (!model.value || dataset.model === model.value) &&
      (!label.value || dataset.actual === label.value || dataset.predicted === label.value) &&
      [dataset.path, dataset.actual, dataset.predicted].some((each) => each.toLowerCase().includes(text));
    list.append(...mistakes.toSorted(orders[order.value]));
    mistakes.forEach((each) => { each.hidden = !fits(each); });
    const shown = mistakes.filter((each) => !each.hidden).length;
    count.textContent = shown === mistakes.length ? `All ${shown} shown` : `${shown} of ${mistakes.length} shown`;
  };
  search.addEventListener("input", show);
  [model, label, order].forEach((each) => each.addEventListener("change", show));
  document.querySelector(".controls").hidden = false;
  show();
})();
