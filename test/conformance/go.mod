// Who judges what we build: containerd's conformance suite for shims, and Kubernetes's for what serves CRI, pinned.
// `npm run conformance` builds them outside the repository, each by itself (from the module proxy; the first one else from a
// fetched copy), and reads the versions from here.
module berth.dev/test/conformance

go 1.26

require (
	github.com/containerd/shimtest v0.3.4-0.20260821024413-f2937b614a8e
	sigs.k8s.io/cri-tools v1.36.0
)
