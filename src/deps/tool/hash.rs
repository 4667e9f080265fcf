//! Checks the bytes of downloaded tools: with hashes that are compiled in for the default versions, and with the hash
//! that a manifest pins. Pure.

use base64::Engine;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::text::hex;

/// npm's `integrity` of each package of a default version, by `name@version`. Source: `npm view PACKAGE
/// dist.integrity`.
const NPM: [(&str, &str); 14] = [
    (
        "pnpm@12.21.0",
        "sha512-Zv2CeO4ok1zpUXktNDZ/869cQyonVkRYIwKVM4NbjaUpu+C+UTCv1W7QcT+4eJ5Hutgtk71a4v5UsVVi1idu8A==",
    ),
    (
        "pnpm@8.15.9",
        "sha512-SZQ0ydj90aJ5Tr9FUrOyXApjOrzuW7Fee13pDzL0e1E6ypjNXP0AHDHw20VLw4BO3M1XhQHkyik6aBYWa72fgQ==",
    ),
    (
        "pnpm@7.33.7",
        "sha512-ev4kEGQrOcaY30baTOXHIxpczjYGmNafjPj0IlfUCz5D8jEFOwe43oSf1P+/SnH/V7g1E3d3o1I4jz09p0cgDg==",
    ),
    (
        "yarn@1.22.22",
        "sha512-prL3kGtyG7o9Z9Sv8IPfBNrWTDmXB4Qbes8A9rEzt6wkJV8mUvoirjU0Mp3GGAU06Y0XQyA3/2/RQFVuK7MTfg==",
    ),
    (
        "@yarnpkg/cli-dist@4.18.1",
        "sha512-EH+A4TxAtBWXKE0DGQxW9Bo9crXHLJ73mfxjTQJuv8XonNWWTpei8BQ5JjczHJNU9GROTycwMFn8iOvRIZXUcA==",
    ),
    (
        "bun@1.4.5",
        "sha512-SWOAncfhwiqIyaZ3uyuUD/6o8aWbG8QtU6SChlz4u6U/C89gTZafLDCmbUvyNjx+ccxLLHV+lSsWqE1OBN8bBw==",
    ),
    (
        "@pnpm/exe.linux-x64@12.21.0",
        "sha512-8eufCjHXspKbNS/kh8q4Q0gqJoOuvC4Q5pgos6XS8By/nAMtP+jf8F1Cw9er840kfAX+PJ/ts+A9qnLE91rvXQ==",
    ),
    (
        "@pnpm/exe.linux-arm64@12.21.0",
        "sha512-4Oj/iF2TDCe2lcH0n4TupPR5sSdrNLclJB6xBElLMPCUOAvBhdf2rRlSaO5M4erJ6g4Fyy7YTXTpcmfFsKyxEA==",
    ),
    (
        "@oven/bun-linux-x64@1.4.5",
        "sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
    ),
    (
        "@oven/bun-linux-aarch64@1.4.5",
        "sha512-4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
    ),
    (
        "@oven/bun-linux-x64-musl@1.4.5",
        "sha512-10QoW/YfTgnURaGEaHpJCiXjLI2e5iTtfVDaA5JKcyUzaa1cq6cVUY9/Uq5XkYzvtRjHLRe9Oj/lTDIQcxy8HQ==",
    ),
    (
        "@oven/bun-linux-aarch64-musl@1.4.5",
        "sha512-XCNc+WvvMAdNNb+OWTogpy+N9wm62fkVeEVLb6how0RZhW5LPi6c7BlkeVCuWps7XjEl2saFpHFa20/1E+PAHg==",
    ),
    (
        "@oven/bun-darwin-x64@1.4.5",
        "sha512-qkLPMGHZM9NI6CeHTWwVezzmlo6cC4Ta7yUAjYIWXS366qQcOlcp75t2uZyiuVRBMPS0h9qE0tCcvCHGaFqjJg==",
    ),
    (
        "@oven/bun-darwin-aarch64@1.4.5",
        "sha512-4MIFXHmctH2EhAxLXm2/qxNtv17dFtLJylvaOCsrgq6KSqHTs6eW5YSrJjRbJxYUJaR901fsN8JfZOa+CsWpWQ==",
    ),
];

/// SHA-256 of each wheel of uv's default version. Source: `uv pip compile --generate-hashes`.
pub(super) const UV: [&str; 19] = [
    "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
    "0ec33661a14e38dea8dfb18167d2a4a5c7fe3d476c62dd8eb6acf5f378727201",
    "13050c64530a1ccfc223af0306a8152d41c0d36ea63bc19161221ca65dfe480a",
    "29451c60f5e8b07403e0a175d5229efc36b0289b34143ff4aaa499a5dd52553a",
    "5337c30bb893b4f9ce0ceb921ba2da0d13f649da644f40ad3bef84083bef0203",
    "55c0b405e75dea1d1c53efc9a8e0725f4031be0e219ec2a08b15d78ece9a616a",
    "5ace7ec339798aca31be51a75fa7c1544fe84e02fadd17a9fa3324813bbaf237",
    "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    "63d807451e63c8d21b1b33c945af16438ac9d8ffddc59b31ce69c692135891f5",
    "6999618363d03a0a085a9491db319e00b461dbda205db06ef1fd55dfcbf6472b",
    "86f1319f851e645bc295bb921e6be19beae7e69216c75ae809010ca7817393aa",
    "87614f62b09e3571593ffe01bf2e1dccb8df928a8423324dba80c6d0e33060eb",
    "9cf0b7b12f13da6ab1c85694ab618d97a2bbd0c904cdea7f0172fb1dd768b9d5",
    "b26fe533dc6153787e40443b7d9428ed41349127bff36a954ec82c48be01ded9",
    "b4184029b1b7c54409b9cd4372c73a36ef9c2d1d7cf3b0aca59c8b1932f041dc",
    "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    "bfcaada3989c7716ad4b58673cd1413fad4fdc6b2e446f9553db0ef18da20850",
    "cfbc13020a64cdf2f116d2936824c38edbf41e5c07f1ea291baf02e31ebf3ed0",
    "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
];

/// Returns npm's `integrity` that a package must have, or `None` for a version that is not a default.
pub(super) fn compiled(package: &str, version: &str) -> Option<&'static str> {
    let wanted = format!("{package}@{version}");
    NPM.iter().find(|(known, _)| *known == wanted).map(|(_, integrity)| *integrity)
}

/// Returns npm's `integrity` of `bytes`.
pub(super) fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes)))
}

/// The hash after the `+` of `packageManager`, as corepack writes it: `sha512.HEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin(String);

impl Pin {
    /// Stores the text after the `+`. A text that is not a hash matches nothing.
    pub(crate) fn new(text: &str) -> Pin {
        Pin(text.to_ascii_lowercase())
    }

    /// Returns a folder name for content that was checked against this pin.
    pub(super) fn label(&self) -> String {
        hex(Sha256::digest(self.0.as_bytes()))[..32].to_string()
    }

    /// Returns true if `bytes` have this hash. SHA-1 and MD5 are too weak and match nothing.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        let Some((algorithm, wanted)) = self.0.split_once('.') else { return false };
        let found = match algorithm {
            "sha224" => hex(Sha224::digest(bytes)),
            "sha256" => hex(Sha256::digest(bytes)),
            "sha384" => hex(Sha384::digest(bytes)),
            "sha512" => hex(Sha512::digest(bytes)),
            _ => return false,
        };
        found == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_matches_its_bytes_only() {
        let pinned = Pin::new(&format!("sha224.{}", hex(Sha224::digest(b"x"))));
        assert!(pinned.matches(b"x") && !pinned.matches(b"y"));
        for text in ["", "sha512", "sha512.", "sha1.11f6ad8ec52a2984abaafd7c3b516503785c2072", "build.5"] {
            assert!(!Pin::new(text).matches(b"x"), "{text}");
        }
        assert_ne!(Pin::new("sha512.a/../b").label(), pinned.label());
        assert!(Pin::new("sha512.a/../b").label().chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn every_compiled_hash_has_its_full_length() {
        for (name, integrity) in NPM {
            let hash =
                base64::engine::general_purpose::STANDARD.decode(&integrity["sha512-".len()..]).unwrap();
            assert_eq!(hash.len(), 64, "{name}");
        }
        assert!(UV.iter().all(|hash| hash.len() == 64));
    }
}
