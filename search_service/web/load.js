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

/** Count the searches: answered, rejected, and cumulative counts by upper bound of their duration in seconds. */
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
    rejected: sum(requests.filter(({ labels }) => labels.status === "503" || labels.status === "429")),
    within,
  };
}

/** Return the counts between two readings. */
export function between(before, after) {
  const within = new Map();
  for (const [bound, count] of after.within) within.set(bound, count - (before.within.get(bound) ?? 0));
  return {
    answered: after.answered - before.answered,
    rejected: after.rejected - before.rejected,
    within,
  };
}

/** Return a quantile of the durations in seconds, interpolated linearly as by Prometheus; null if there are none. */
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
