// Nodes that have the pod's images rank higher, the more the larger the images and the more nodes have them.
// Behaviour: upstream's imagelocality plugin.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import type { Plugin } from '../framework/plugin.ts';

const mebibyte = 1024 * 1024;
/** Images below count for nothing, and more than the upper bound for each container for no more. */
const leastBytes = 23 * mebibyte;
const mostBytesEach = 1000 * mebibyte;

/** What the score needs to know of the cluster. */
export type ImageView = Pick<ClusterCache, 'nodesWithImage' | 'nodes'>;

/** The plugin over one cluster. */
export function createImageLocality(cluster: ImageView): Plugin {
  return {
    name: 'ImageLocality',
    weight: 1,
    score: ({ images, imageContainers }, { images: present }) => {
      if (present.size === 0 || images.length === 0) return 0;
      let sum = 0;
      for (const image of images) {
        const bytes = present.get(image);
        if (bytes === undefined) continue;
        sum += Math.floor((bytes * cluster.nodesWithImage(image)) / Math.max(1, cluster.nodes.size));
      }
      const mostBytes = mostBytesEach * imageContainers;
      const bounded = Math.min(Math.max(sum, leastBytes), mostBytes);
      return Math.floor((100 * (bounded - leastBytes)) / (mostBytes - leastBytes));
    },
  };
}
