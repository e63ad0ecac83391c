// The network of pods: CNI plugins, called for each pod, and the configurations that say which.
export {
  PodNetwork,
  type NetworkStatus,
  type NetworkSummary,
  type PodNetworkOptions,
  type PodNetworkResult,
} from './pod-network.ts';
export type { PodNetworkRequest, PodPortMapping } from './request.ts';
