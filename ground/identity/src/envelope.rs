//! Signed envelopes (libp2p RFC 0002): bytes, who signed them, and for which purpose.
//!
//! The purpose is part of what is signed but not of the envelope: a signature for one purpose is worth nothing for another.

use prost::Message;

use crate::key::NodeKey;
use crate::public::{PublicKey, PublicKeyError};

/// The longest envelope that is opened. A peer record of many addresses has a few thousand bytes.
const LENGTH_MAX: usize = 64 * 1024;

/// What a signature is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Keeps signatures of one protocol apart from those of all others.
    pub domain: &'static str,
    /// What the payload is: a multicodec, or a path that begins with `/`.
    pub payload_type: &'static [u8],
}

/// What was in an envelope whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who signed it.
    pub signer: PublicKey,
    /// What was signed.
    pub payload: Vec<u8>,
}

/// Why an envelope is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than any honest one.
    #[error("an envelope has {LENGTH_MAX} bytes at most")]
    TooLong,
    /// No envelope.
    #[error("no envelope: {0}")]
    Encoding(String),
    /// The signer's key cannot be read.
    #[error("of an unknown signer")]
    Signer(#[source] PublicKeyError),
    /// It holds something else.
    #[error("the envelope holds something else")]
    Type,
    /// The signer did not sign this, or not for this purpose.
    #[error("the signature is wrong")]
    Signature,
}

/// The envelope on the wire.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    // A message of its own, which looks the same as bytes.
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

/// An envelope with `payload`, signed by `key`.
pub fn sign(key: &NodeKey, purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    let wire = Wire {
        public_key: key.public().to_protobuf(),
        payload_type: purpose.payload_type.to_vec(),
        payload: payload.to_vec(),
        signature: key.sign(&what_is_signed(purpose, payload)),
    };
    wire.encode_to_vec()
}

/// What is in an envelope, if its signer signed it for this purpose. Whether the signer is the right one is for the caller to say.
///
/// # Errors
/// [`EnvelopeError`].
pub fn open(envelope: &[u8], purpose: Purpose) -> Result<Signed, EnvelopeError> {
    if envelope.len() > LENGTH_MAX {
        return Err(EnvelopeError::TooLong);
    }
    let wire = Wire::decode(envelope).map_err(|error| EnvelopeError::Encoding(error.to_string()))?;
    if wire.payload_type != purpose.payload_type {
        return Err(EnvelopeError::Type);
    }
    let signer = PublicKey::from_protobuf(&wire.public_key).map_err(EnvelopeError::Signer)?;
    if !signer.verify(&what_is_signed(purpose, &wire.payload), &wire.signature) {
        return Err(EnvelopeError::Signature);
    }
    Ok(Signed { signer, payload: wire.payload })
}

/// Domain, type and payload, each behind its length.
fn what_is_signed(purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    let parts = [purpose.domain.as_bytes(), purpose.payload_type, payload];
    let mut signed = Vec::with_capacity(parts.iter().map(|part| part.len() + 5).sum());
    for part in parts {
        // A vector takes whatever it is given.
        let _ = prost::encode_length_delimiter(part.len(), &mut signed);
        signed.extend_from_slice(part);
    }
    signed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PURPOSE: Purpose = Purpose { domain: "peerage-test", payload_type: b"/test" };

    #[test]
    fn an_envelope_tells_who_signed_what() {
        let key = NodeKey::from_seed([1; 32]);
        let signed = open(&sign(&key, PURPOSE, b"hello"), PURPOSE).unwrap();
        assert_eq!(signed, Signed { signer: key.public(), payload: b"hello".to_vec() });
    }

    #[test]
    fn a_signature_is_good_for_one_purpose() {
        let envelope = sign(&NodeKey::from_seed([1; 32]), PURPOSE, b"hello");
        let domain = open(&envelope, Purpose { domain: "peerage-tes", ..PURPOSE });
        assert!(matches!(domain, Err(EnvelopeError::Signature)));
        let kind = open(&envelope, Purpose { payload_type: b"/tes", ..PURPOSE });
        assert!(matches!(kind, Err(EnvelopeError::Type)));
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        assert!(matches!(open(&[0; LENGTH_MAX + 1], PURPOSE), Err(EnvelopeError::TooLong)));
        assert!(matches!(open(b"\x0a\xff", PURPOSE), Err(EnvelopeError::Encoding(_))));
        let nobody = Wire { payload_type: PURPOSE.payload_type.to_vec(), ..Wire::default() };
        assert!(matches!(open(&nobody.encode_to_vec(), PURPOSE), Err(EnvelopeError::Signer(_))));
    }

    proptest! {
        /// Whatever is changed of an envelope, it holds what was signed or nothing.
        #[test]
        fn a_changed_envelope_is_refused(at in any::<prop::sample::Index>(), change in 1_u8..) {
            let key = NodeKey::from_seed([1; 32]);
            let mut envelope = sign(&key, PURPOSE, b"hello");
            let at = at.index(envelope.len());
            envelope[at] ^= change;
            if let Ok(signed) = open(&envelope, PURPOSE) {
                prop_assert_eq!(signed, Signed { signer: key.public(), payload: b"hello".to_vec() });
            }
        }
    }
}
