// Means over seeds, with their standard errors, and paired tests between arms that share seeds.

export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard error of the mean; 0 for a single value. */
export function standardError(values) {
  const m = mean(values);
  const variance = values.reduce((sum, v) => sum + (v - m) ** 2, 0) / Math.max(1, values.length - 1);
  return Math.sqrt(variance / values.length);
}

/** Two-sided p of Student's t-test that the differences of pairs have mean zero. Undefined for fewer than two. */
export function pairedTest(differences) {
  const freedom = differences.length - 1;
  if (freedom < 1) return undefined;
  const t = Math.abs(mean(differences)) / standardError(differences);
  // With t = sqrt(v) tan(a) the density becomes cos(a)^(v - 1).
  const area = (until) => simpson((a) => Math.cos(a) ** (freedom - 1), until);
  return 1 - area(Math.atan(t / Math.sqrt(freedom))) / area(Math.PI / 2);
}

function simpson(f, until, steps = 1000) {
  const h = until / steps;
  let sum = f(0) + f(until);
  for (let i = 1; i < steps; i++) sum += (i % 2 ? 4 : 2) * f(i * h);
  return (sum * h) / 3;
}
