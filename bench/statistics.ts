/** The middle of some numbers; the mean of the two middle ones when their count is even. NaN for none. */
export function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** NaN for none. */
export function geometricMean(list: readonly number[]): number {
  return list.length ? Math.exp(list.reduce((sum, v) => sum + Math.log(v), 0) / list.length) : Number.NaN;
}
