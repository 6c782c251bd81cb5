//! The little of protobuf's wire format that dag-pb and UnixFS need, over slices, without copies.

/// Why bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// It ends inside a field.
    #[error("message ends inside a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("number of more than 64 bits")]
    Overflow,
    /// A field number of 0, or above what protobuf has.
    #[error("field number out of range")]
    FieldNumber,
    /// A group, or a wire type that does not exist.
    #[error("wire type {0}")]
    WireType(u8),
}

/// The value of a field as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    pub(crate) fn varint(self) -> Option<u64> {
        if let Self::Varint(value) = self { Some(value) } else { None }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    pub(crate) fn fixed32(self) -> Option<u32> {
        if let Self::Fixed32(value) = self { Some(value) } else { None }
    }
}

/// Reads a message field by field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The number and value of the next field, or nothing at the end of the message.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, ProtoError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| ProtoError::FieldNumber)?;
        let number = key >> 3;
        if number == 0 {
            return Err(ProtoError::FieldNumber);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtoError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(ProtoError::WireType(other as u8)),
        };
        Ok(Some((number, value)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A base-128 number. Longer forms than needed are taken, as Go and JavaScript take them.
    pub(crate) fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(ProtoError::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ProtoError::Overflow);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtoError::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtoError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Bytes of a number in base 128.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes of a field of bytes whose number is below 16.
pub(crate) fn bytes_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that holds a number; its own number is below 16.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    put_varint(out, value);
}

/// What stands before the bytes of a field of bytes; its number is below 16.
pub(crate) fn put_bytes_head(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(field << 3 | 2);
    put_varint(out, length as u64);
}

/// A field of bytes; its number is below 16.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_bytes_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_their_length_is_foretold() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 62, 1 << 63, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&out).varint(), Ok(value));
            assert_eq!(Reader::new(&out[..out.len() - 1]).varint(), Err(ProtoError::Truncated));
        }
    }

    #[test]
    fn a_number_longer_than_needed_is_taken_but_not_one_of_more_than_64_bits() {
        assert_eq!(Reader::new(&[0x81, 0x80, 0x00]).varint(), Ok(1));
        let mut long = [0xff; 10];
        long[9] = 2;
        assert_eq!(Reader::new(&long).varint(), Err(ProtoError::Overflow));
        assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(ProtoError::Overflow));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for message in
            [&[0x0a, 5, 1][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[0x0d, 1]]
        {
            assert_eq!(Reader::new(message).field(), Err(ProtoError::Truncated));
        }
        assert_eq!(Reader::new(&[0x0b]).field(), Err(ProtoError::WireType(3)));
        assert_eq!(Reader::new(&[0x02]).field(), Err(ProtoError::FieldNumber));
    }
}
