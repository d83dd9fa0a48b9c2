// How many nodes have each image.

export interface ImageCounts {
  /** A node has other images than before. */
  replace(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void;
  nodesWith(image: string): number;
  /** Another one with every change of one of the images, and of the number of nodes where some have one. */
  versionOf(images: readonly string[], nodeCount: number): string;
}

export function createImageCounts(): ImageCounts {
  const nodes = new Map<string, number>();
  const versions = new Map<string, number>();

  function change(image: string, by: 1 | -1): void {
    const left = (nodes.get(image) ?? 0) + by;
    if (left > 0) nodes.set(image, left);
    else nodes.delete(image);
    versions.set(image, (versions.get(image) ?? 0) + 1);
  }

  return {
    replace(before, after) {
      for (const image of before.keys()) if (!after.has(image)) change(image, -1);
      for (const image of after.keys()) if (!before.has(image)) change(image, 1);
    },
    nodesWith: (image) => nodes.get(image) ?? 0,
    versionOf(images, nodeCount) {
      let sum = 0;
      let isAny = false;
      for (const image of images) {
        sum += versions.get(image) ?? 0;
        isAny ||= nodes.has(image);
      }
      return isAny ? `${sum} of ${nodeCount}` : `${sum}`;
    },
  };
}
