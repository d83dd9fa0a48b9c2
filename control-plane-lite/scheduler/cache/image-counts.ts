// How many nodes have each image.

export interface ImageCounts {
  /** A node has other images than before. */
  replace(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void;
  nodesWith(image: string): number;
  /** Grows with every change of one of the images. */
  versionOf(images: readonly string[]): number;
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
    versionOf: (images) => images.reduce((sum, image) => sum + (versions.get(image) ?? 0), 0),
  };
}
