// Original file: proto/pluginregistration/api.proto


export interface InfoRequest {
}

export interface InfoRequest__Output {
}
