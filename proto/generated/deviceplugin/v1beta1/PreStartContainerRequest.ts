// Original file: proto/deviceplugin/api.proto


export interface PreStartContainerRequest {
  'devicesIds'?: (string)[];
}

export interface PreStartContainerRequest__Output {
  'devicesIds': (string)[];
}
