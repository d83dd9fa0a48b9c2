// A score as a broken line over utilization: RequestedToCapacityRatio and the shape of VolumeBinding's score.

/** `score` is 0 to 10, as the configuration has it. */
export interface ShapePoint {
  utilization: number;
  score: number;
}

/** The line's value from 0 to 100; level before the first point and after the last. */
export function valueOfShape(shape: readonly ShapePoint[], utilization: number): number {
  let before: ShapePoint | undefined;
  for (const point of shape) {
    if (utilization <= point.utilization) {
      if (before === undefined) return point.score * 10;
      const part = (utilization - before.utilization) / (point.utilization - before.utilization);
      return Math.trunc(10 * (before.score + part * (point.score - before.score)));
    }
    before = point;
  }
  return (before?.score ?? 0) * 10;
}
