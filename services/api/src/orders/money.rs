//! Amounts of money: whole minor units (cents, yen, fils), never a fraction, never a float. In which currency is
//! `currency.rs`.

/// Largest amount, in minor units: the largest whole number that JavaScript keeps exactly (2⁵³ − 1), so that no
/// client rounds a sum.
pub const MAX_AMOUNT_MINOR: i64 = 9_007_199_254_740_991;

/// An amount in minor units, from 0 to [`MAX_AMOUNT_MINOR`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

/// The number is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 0 to {MAX_AMOUNT_MINOR} minor units")]
pub struct AmountOutOfRange;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `minor` minor units.
    ///
    /// # Errors
    /// [`AmountOutOfRange`].
    pub fn new(minor: i64) -> Result<Self, AmountOutOfRange> {
        if (0..=MAX_AMOUNT_MINOR).contains(&minor) { Ok(Self(minor)) } else { Err(AmountOutOfRange) }
    }

    /// In minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.0
    }

    /// `quantity` times this.
    ///
    /// # Errors
    /// [`AmountOutOfRange`] when the product is too large.
    pub fn times(self, quantity: u32) -> Result<Self, AmountOutOfRange> {
        self.0.checked_mul(i64::from(quantity)).ok_or(AmountOutOfRange).and_then(Self::new)
    }

    /// This and `other`.
    ///
    /// # Errors
    /// [`AmountOutOfRange`] when the sum is too large.
    pub fn plus(self, other: Self) -> Result<Self, AmountOutOfRange> {
        self.0.checked_add(other.0).ok_or(AmountOutOfRange).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_or_product_leaves_the_range() {
        let most = Amount::new(MAX_AMOUNT_MINOR).unwrap();
        let one = Amount::new(1).unwrap();
        assert_eq!(most.plus(one), Err(AmountOutOfRange));
        assert_eq!(most.times(2), Err(AmountOutOfRange));
        assert_eq!(most.times(u32::MAX), Err(AmountOutOfRange));
        assert_eq!(Amount::new(-1), Err(AmountOutOfRange));
        assert_eq!(Amount::new(i64::MAX), Err(AmountOutOfRange));
        assert_eq!(most.times(1).unwrap().plus(Amount::ZERO), Ok(most));
        assert_eq!(one.times(0), Ok(Amount::ZERO));
    }
}
