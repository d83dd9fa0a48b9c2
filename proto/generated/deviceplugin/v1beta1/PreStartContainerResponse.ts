// Original file: proto/deviceplugin/api.proto


export interface PreStartContainerResponse {
}

export interface PreStartContainerResponse__Output {
}
