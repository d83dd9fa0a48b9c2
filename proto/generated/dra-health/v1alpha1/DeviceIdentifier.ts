// Original file: proto/dra-health/api.proto


export interface DeviceIdentifier {
  'poolName'?: (string);
  'deviceName'?: (string);
}

export interface DeviceIdentifier__Output {
  'poolName': (string);
  'deviceName': (string);
}
