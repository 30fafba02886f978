// The load of the service, from two readings of its metrics.

/** One sample of Prometheus's text format. @typedef {{name: string, labels: Record<string, string>, value: number}} Sample */

/** @param {string} metrics @returns {Sample[]} */
export function samples(metrics) {
  const samples = [];
  for (const line of metrics.split("\n")) {
    const parts = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue; // a comment
    const labels = Object.fromEntries(
      [...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    samples.push({ name: parts[1], labels, value: Number(parts[3]) });
  }
  return samples;
}

/** Searches: how many were answered and turned away, and how long they took, as cumulative counts by upper bound in s. */
export function searches(metrics) {
  const all = samples(metrics).filter(({ labels }) => isSearch(labels.route));
  const requests = all.filter(({ name }) => name === "parecido_requests_total");
  const within = new Map();
  for (const { name, labels, value } of all) {
    if (name !== "parecido_request_seconds_bucket") continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    within.set(bound, (within.get(bound) ?? 0) + value);
  }
  return {
    answered: sum(requests),
    turnedAway: sum(requests.filter(({ labels }) => labels.status === "503" || labels.status === "429")),
    within,
  };
}

/** What came between two readings. */
export function between(before, after) {
  const within = new Map();
  for (const [bound, count] of after.within) within.set(bound, count - (before.within.get(bound) ?? 0));
  return {
    answered: after.answered - before.answered,
    turnedAway: after.turnedAway - before.turnedAway,
    within,
  };
}

/** How long a share of the searches took at most, in seconds; drawn evenly between bounds, as Prometheus does. */
export function quantile(within, share) {
  const bounds = [...within.keys()].sort((low, high) => low - high);
  const target = share * (within.get(Infinity) ?? 0);
  if (!target) return null;
  let [low, below] = [0, 0];
  for (const bound of bounds) {
    const count = within.get(bound);
    if (count >= target) return bound === Infinity ? low : low + ((bound - low) * (target - below)) / (count - below);
    [low, below] = [bound, count];
  }
  return low;
}

const isSearch = (route = "") => route.startsWith("/v1/search") || route.endsWith("/similar");
const sum = (some) => some.reduce((total, { value }) => total + value, 0);
