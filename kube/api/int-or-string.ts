// Fields that take a number or a percentage (maxSurge, maxUnavailable, minAvailable).

/** The number, or that percentage of `total` rounded up or down. Throws for a text that is neither. */
export function scaledIntOrPercent(value: number | string, total: number, rounding: 'up' | 'down'): number {
  if (typeof value === 'number') return value;
  const match = /^(\d+)%$/.exec(value);
  if (match === null) throw new RangeError(`invalid value for IntOrString: invalid type: string is not a percentage`);
  const scaled = (Number(match[1]) * total) / 100;
  return rounding === 'up' ? Math.ceil(scaled) : Math.floor(scaled);
}

/** True for `n%` with n a whole number. */
export function isPercent(value: number | string): boolean {
  return typeof value === 'string' && /^\d+%$/.test(value);
}
