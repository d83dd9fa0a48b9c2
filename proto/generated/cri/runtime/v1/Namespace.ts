// Original file: proto/cri/api.proto


export interface Namespace {
}

export interface Namespace__Output {
}
