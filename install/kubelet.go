package install

// KubeletText says what of kubelet's configuration an installation does not do.
const KubeletText = `kubelet needs no change for images that everybody can read. For private ones ladle needs
credentials, which containerd does not pass on; docs/credentials.md has all ways. Those that concern
kubelet:
  - its credential providers (--image-credential-provider-config and -bin-dir): name the same
    files in /etc/ladle/config.toml;
  - image pull secrets: let ladle be between kubelet and containerd, by imageServiceEndpoint in
    kubelet's configuration.
Images that are on this node already were unpacked for another snapshotter: docs/install.md says
what happens with them.
`
