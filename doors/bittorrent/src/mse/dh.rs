//! The key agreement: Diffie-Hellman modulo a prime of 768 bits, with exponents of 160 bits.

use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{U192, U768, const_monty_params};
use rand::CryptoRng;

/// Bytes of a public key and of the secret.
pub(super) const KEY_LENGTH: usize = 96;

/// Bits of an exponent: what the specification recommends, and as strong as the rest.
const EXPONENT_BITS: u32 = 160;

const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
                     ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563";

const_monty_params!(Group, U768, PRIME, "The multiplicative group of the specification.");
type Element = ConstMontyForm<Group, { U768::LIMBS }>;

/// The secret and the public half of one side.
pub(super) struct KeyPair {
    exponent: U192,
    /// What is sent, high byte first.
    pub(super) public: [u8; KEY_LENGTH],
}

impl KeyPair {
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        let mut exponent = [0; 20];
        rng.fill_bytes(&mut exponent);
        Self::of(exponent)
    }

    fn of(exponent: [u8; 20]) -> Self {
        let mut wide = [0; 24];
        wide[4..].copy_from_slice(&exponent);
        let exponent = U192::from_be_slice(&wide);
        let public = bytes(&Element::new(&U768::from(2_u8)).pow_bounded_exp(&exponent, EXPONENT_BITS));
        Self { exponent, public }
    }

    /// The secret shared with the owner of `theirs`; `None` when that is not a public key (0, 1, the prime less 1, or
    /// beyond), for which everybody would know the secret.
    pub(super) fn agree(&self, theirs: &[u8; KEY_LENGTH]) -> Option<[u8; KEY_LENGTH]> {
        let number = U768::from_be_slice(theirs);
        let last = Element::MODULUS.get().wrapping_sub(&U768::ONE);
        if number <= U768::ONE || number >= last {
            return None;
        }
        Some(bytes(&Element::new(&number).pow_bounded_exp(&self.exponent, EXPONENT_BITS)))
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

fn bytes(element: &Element) -> [u8; KEY_LENGTH] {
    let mut bytes = [0; KEY_LENGTH];
    bytes.copy_from_slice(element.retrieve().to_be_bytes().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; KEY_LENGTH] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// Computed with Python's `pow`.
    #[test]
    fn known_numbers() {
        let one = KeyPair::of(std::array::from_fn(|i| 1 + i as u8));
        let other = KeyPair::of(std::array::from_fn(|i| 101 + i as u8));
        assert_eq!(one.public, hex(PUBLIC_ONE));
        assert_eq!(other.public, hex(PUBLIC_OTHER));
        assert_eq!(one.agree(&other.public), Some(hex(SECRET)));
        assert_eq!(other.agree(&one.public), Some(hex(SECRET)));
    }

    #[test]
    fn worthless_keys_are_refused() {
        let own = KeyPair::of([7; 20]);
        let mut low = [0; KEY_LENGTH];
        assert_eq!(own.agree(&low), None);
        low[95] = 1;
        assert_eq!(own.agree(&low), None);
        low[95] = 2;
        assert!(own.agree(&low).is_some());
        let mut high = hex(PRIME);
        assert_eq!(own.agree(&high), None);
        high[95] -= 1;
        assert_eq!(own.agree(&high), None);
        high[95] -= 1;
        assert!(own.agree(&high).is_some());
        assert_eq!(own.agree(&[0xff; KEY_LENGTH]), None);
    }

    const PUBLIC_ONE: &str = "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556b0918db2b4c658e02a87f7e5fb14b18a\
        553e084cbf3dad2d30f16596ccb982d406258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693";
    const PUBLIC_OTHER: &str = "d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9ddc4b684e3eb34030b8dba4e028b7cff3\
        264020340cb4eab61923cdc4e4216ba873368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e";
    const SECRET: &str = "d05ed96a95215a89b44073afe5d0b1626289ac01cff7849392948b2470b346547e944d7562a897ae86976bc389999083\
        ec09572dbdc8ed7f6a0a86a1aa42a3ca04209b72d8239890360435640643b76479ed7836f1857963fcc7cb72084c3ab4";
}
