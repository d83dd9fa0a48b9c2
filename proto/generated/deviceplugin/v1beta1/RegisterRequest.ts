// Original file: proto/deviceplugin/api.proto


export interface RegisterRequest {
  'version'?: (string);
  'endpoint'?: (string);
  'resourceName'?: (string);
}

export interface RegisterRequest__Output {
  'version': (string);
  'endpoint': (string);
  'resourceName': (string);
}
