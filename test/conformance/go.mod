// What judges the shim: containerd's own conformance suite, pinned. `npm run conformance` builds it outside the repository
// (from the module proxy, else from a fetched copy) and reads the version from here.
module berth.dev/test/conformance

go 1.26

require github.com/containerd/shimtest v0.3.4-0.20260821024413-f2937b614a8e
