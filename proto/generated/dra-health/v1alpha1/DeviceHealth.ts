// Original file: proto/dra-health/api.proto

import type { DeviceIdentifier as _v1alpha1_DeviceIdentifier, DeviceIdentifier__Output as _v1alpha1_DeviceIdentifier__Output } from '../v1alpha1/DeviceIdentifier.ts';
import type { HealthStatus as _v1alpha1_HealthStatus, HealthStatus__Output as _v1alpha1_HealthStatus__Output } from '../v1alpha1/HealthStatus.ts';
import type { Long } from '@grpc/proto-loader';

export interface DeviceHealth {
  'device'?: (_v1alpha1_DeviceIdentifier | null);
  'health'?: (_v1alpha1_HealthStatus);
  'lastUpdatedTime'?: (number | string | Long);
  'healthCheckTimeoutSeconds'?: (number | string | Long);
  'message'?: (string);
}

export interface DeviceHealth__Output {
  'device': (_v1alpha1_DeviceIdentifier__Output | null);
  'health': (_v1alpha1_HealthStatus__Output);
  'lastUpdatedTime': (number);
  'healthCheckTimeoutSeconds': (number);
  'message': (string);
}
