// Original file: proto/deviceplugin/api.proto


export interface DevicePluginOptions {
  'preStartRequired'?: (boolean);
  'getPreferredAllocationAvailable'?: (boolean);
}

export interface DevicePluginOptions__Output {
  'preStartRequired': (boolean);
  'getPreferredAllocationAvailable': (boolean);
}
