//! Tests of the DER reader behind the hash that binds a login to a certificate.

use super::*;

#[test]
fn der_is_read_within_its_bounds() {
    assert_eq!(element(&[0x30, 2, 1, 2, 9]), Some((0x30, &[1, 2][..], &[9][..])));
    assert_eq!(element(&[0x30, 0x81, 1, 7]), Some((0x30, &[7][..], &[][..])));
    for bad in [&[][..], &[0x30], &[0x30, 2, 1], &[0x30, 0x85, 0, 0, 0, 0, 1, 1], &[0x30, 0x82, 1]] {
        assert_eq!(element(bad), None);
        assert_eq!(end_point(bad), None);
    }
}
