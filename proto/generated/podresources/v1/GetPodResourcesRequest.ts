// Original file: proto/podresources/api.proto


export interface GetPodResourcesRequest {
  'podName'?: (string);
  'podNamespace'?: (string);
}

export interface GetPodResourcesRequest__Output {
  'podName': (string);
  'podNamespace': (string);
}
