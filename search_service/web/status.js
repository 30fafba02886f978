// The status page: the served snapshot, its quality, and the load of the service.

import { bar, byId, element } from "./elements.js";
import { between, quantile, searches } from "./load.js";
import { clearNotice, showError } from "./notice.js";
import { getMetrics, getReady, getStatus } from "./service.js";
import { ago, number, percent, text, translate } from "./texts.js";

const INTERVAL_S = 5;

let before = null; // the last reading of the metrics

async function update() {
  try {
    const [status, ready, metrics] = await Promise.all([getStatus(), getReady(), getMetrics()]);
    clearNotice(true);
    showServed(status, ready);
    showLoad(searches(metrics));
    showCategories(status.categories);
  } catch (error) {
    if (error.status === undefined) throw error; // an error of the page itself
    showError(error, update);
  }
}

function showServed(status, ready) {
  const { classifier, categories } = status;
  const recalls = categories.map((entry) => entry.ann_recall_at_10);
  byId("served").replaceChildren(
    ready.refused ? rejection(ready.refused) : "",
    tiles(
      [text("built"), ago(status.created_at), status.snapshot_id],
      [text("products_"), number(status.items),
        `${number(status.images)} ${text("images").toLowerCase()}, ${text("skipped", { count: status.skipped })}`],
      classifier.category_accuracy !== undefined &&
        [text("accuracy"), percent(classifier.category_accuracy), text("accuracyWhy", { count: classifier.images })],
      [text("recall"), number(Math.min(...recalls), 3), text("recallWhy")],
      [text("base"), status.backbone, status.tuned ? text("tuned") : `Parecido ${status.parecido_version}`],
    ),
  );
}

const rejection = ({ reason }) =>
  element("div", { class: "notice busy" }, element("h3", {}, text("rejectedSnapshot")), element("p", {}, reason));

function showLoad(now) {
  const lately = before && between(before.counts, now);
  const seconds = before ? (performance.now() - before.at) / 1000 : 0;
  // After a restart, or if there were no requests lately, show the figures since start-up.
  const isLately = lately !== null && lately.answered > 0;
  const shown = isLately ? lately : now;
  const span = isLately ? text("nowOf", { seconds: Math.round(seconds) }) : text("overAll");
  const milliseconds = (share) => {
    const value = quantile(shown.within, share);
    return value === null ? "–" : `${number(value * 1000, value < 0.01 ? 1 : 0)} ms`;
  };
  byId("load").replaceChildren(
    tiles(
      [text("searches"), lately && seconds ? number(Math.max(0, lately.answered) / seconds, 1) : "–", text("nowOf", { seconds: INTERVAL_S })],
      [text("answered"), milliseconds(0.5), span],
      [text("answered95"), milliseconds(0.95), span],
      [text("rejectedSearches"), number(now.rejected), text("overAll")],
    ),
  );
  before = { counts: now, at: performance.now() };
}

function showCategories(categories) {
  const maxItems = Math.max(...categories.map(({ items }) => items));
  const head = ["category", "products_", "images", "index", "recall10"].map((name) =>
    element("th", { scope: "col" }, text(name)));
  const rows = categories.map((entry) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, entry.category),
      element("td", {}, number(entry.items), bar(entry.items / maxItems)),
      element("td", {}, number(entry.images)),
      element("td", {}, entry.index_kind),
      element("td", {}, number(entry.ann_recall_at_10, 3)),
    ));
  byId("categories").replaceChildren(
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
  );
}

/** Tiles of figures: name, value and a note. */
function tiles(...figures) {
  return element(
    "dl",
    { class: "tiles" },
    ...figures.filter(Boolean).map(([name, value, aside]) =>
      element("div", { class: "tile" }, element("dt", {}, name), element("dd", {}, value, element("div", { class: "aside" }, aside)))),
  );
}

translate();
update();
setInterval(() => {
  if (!document.hidden) update();
}, INTERVAL_S * 1000);
