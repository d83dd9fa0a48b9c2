// Original file: proto/containerd/content.proto

import type { Long } from '@grpc/proto-loader';

export interface Status {
  'ref'?: (string);
  'offset'?: (number | string | Long);
  'total'?: (number | string | Long);
  'expected'?: (string);
}

export interface Status__Output {
  'ref': (string);
  'offset': (number);
  'total': (number);
  'expected': (string);
}
