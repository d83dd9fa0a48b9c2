// Original file: proto/deviceplugin/api.proto


export interface ContainerAllocateRequest {
  'devicesIds'?: (string)[];
}

export interface ContainerAllocateRequest__Output {
  'devicesIds': (string)[];
}
