//! The 16-bit arithmetic that EN 300 961, 5.1 defines its algorithm in.
//!
//! Every operation saturates where the standard says so; nothing here can overflow. The names are the standard's.

/// The sum, saturated.
pub(super) const fn add(a: i16, b: i16) -> i16 {
    a.saturating_add(b)
}

/// The difference, saturated.
pub(super) const fn sub(a: i16, b: i16) -> i16 {
    a.saturating_sub(b)
}

/// The magnitude; that of -32768 is 32767.
pub(super) const fn abs(a: i16) -> i16 {
    a.saturating_abs()
}

/// The product of two fractions (Q15), cut off below.
pub(super) const fn mult(a: i16, b: i16) -> i16 {
    saturate((a as i32 * b as i32) >> 15)
}

/// The product of two fractions (Q15), rounded.
pub(super) const fn mult_r(a: i16, b: i16) -> i16 {
    saturate((a as i32 * b as i32 + 16_384) >> 15)
}

/// The nearest 16-bit value.
pub(super) const fn saturate(a: i32) -> i16 {
    if a > i16::MAX as i32 {
        i16::MAX
    } else if a < i16::MIN as i32 {
        i16::MIN
    } else {
        a as i16
    }
}

/// `part / whole` as a fraction (Q15), cut off below, for 0 <= part <= whole; 32767 when they are equal.
pub(super) const fn div(part: i16, whole: i16) -> i16 {
    match ((part as i32) << 15).checked_div(whole as i32) {
        Some(quotient) => saturate(quotient),
        None => i16::MAX,
    }
}

/// By how many bits a positive number can be shifted left before it reaches the sign bit; 0 for what is not positive.
pub(super) const fn norm(a: i32) -> u32 {
    if a > 0 { a.leading_zeros() - 1 } else { 0 }
}

/// `norm` of a 16-bit number.
pub(super) const fn norm16(a: i16) -> u32 {
    if a > 0 { a.leading_zeros() - 1 } else { 0 }
}

/// The sum of the products of two series. The callers scale their series so that 31 bits hold it; wrapping keeps
/// overflow checks out of the two hottest loops of the encoder.
pub(super) fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0_i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a).wrapping_mul(i32::from(b))))
}

/// The largest magnitude in a series.
pub(super) fn peak(series: &[i16]) -> i16 {
    series.iter().fold(0, |peak, &a| peak.max(abs(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extremes_saturate_as_the_standard_says() {
        assert_eq!(abs(i16::MIN), i16::MAX);
        assert_eq!(mult(i16::MIN, i16::MIN), i16::MAX);
        assert_eq!(mult_r(i16::MIN, i16::MIN), i16::MAX);
        assert_eq!(mult(-1, 1), -1, "a negative product is cut off towards minus infinity");
        assert_eq!(mult_r(-1, 1), 0);
        assert_eq!(div(5, 5), i16::MAX);
        assert_eq!(div(1, 4), 8192);
        assert_eq!(div(0, 0), i16::MAX);
    }

    #[test]
    fn norm_counts_the_free_bits_below_the_sign() {
        assert_eq!((norm(1), norm(0x4000_0000), norm(i32::MAX), norm(0)), (30, 0, 0, 0));
        assert_eq!((norm16(1), norm16(0x4000), norm16(i16::MAX), norm16(0)), (14, 0, 0, 0));
    }
}
