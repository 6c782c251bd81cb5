//! What is wrong with bytes that are not bencode.

/// Why bytes were refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bencode: {fault} at byte {at}")]
pub struct DecodeError {
    /// Bytes from the start of the input.
    pub at: usize,
    /// What was wrong there.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input ends inside a value.
    #[error("input ends inside a value")]
    Ended,
    /// The value is complete, and bytes follow it.
    #[error("bytes follow the value")]
    TrailingBytes,
    /// No value starts with this byte.
    #[error("no value starts with byte {0:#04x}")]
    NotAValue(u8),
    /// Something other than a digit where one must be.
    #[error("number has no digits or foreign characters")]
    NotANumber,
    /// A number with zeros in front.
    #[error("number has a leading zero")]
    LeadingZero,
    /// `i-0e`.
    #[error("number is minus zero")]
    MinusZero,
    /// A number beyond 64 bits.
    #[error("number does not fit 64 bits")]
    NumberTooLarge,
    /// A string that claims more bytes than there are.
    #[error("string of {length} bytes has only {left} left")]
    StringPastEnd {
        /// Bytes claimed.
        length: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A dictionary key that is not a byte string.
    #[error("dictionary key is not a string")]
    KeyNotString,
    /// A dictionary that ends behind a key.
    #[error("dictionary key has no value")]
    KeyWithoutValue,
    /// A key that should stand before the one in front of it.
    #[error("dictionary key is out of order")]
    UnsortedKey,
    /// A key that the dictionary had already.
    #[error("dictionary key is there twice")]
    DuplicateKey,
    /// More containers inside each other than [`super::DEPTH_MAX`].
    #[error("value is nested too deep")]
    TooDeep,
}
