// Original file: proto/podresources/api.proto


export interface ListPodResourcesRequest {
}

export interface ListPodResourcesRequest__Output {
}
