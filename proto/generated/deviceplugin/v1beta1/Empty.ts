// Original file: proto/deviceplugin/api.proto


export interface Empty {
}

export interface Empty__Output {
}
