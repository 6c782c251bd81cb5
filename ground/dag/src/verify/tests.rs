use super::*;

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

#[test]
fn a_block_matches_its_own_cid_only() {
    let hello = cid("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    assert_eq!(verify(&hello, b"hello world"), Ok(()));
    assert_eq!(verify(&hello, b"hello world!"), Err(VerifyError::Mismatch));
    assert_eq!(sha2_256(Codec::Raw, b"hello world"), hello);
}

#[test]
fn version_0_is_verified_like_version_1() {
    let empty_directory = cid("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    assert_eq!(verify(&empty_directory, &[0x0a, 0x02, 0x08, 0x01]), Ok(()));
}

#[test]
fn a_block_is_hashed_by_the_number_of_a_function() {
    let hello = cid("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    assert_eq!(hash(0x12, b"hello world"), Ok(*hello.hash()));
    assert_eq!(hash(0x11, b"").unwrap().digest()[..4], [0xda, 0x39, 0xa3, 0xee]);
    assert_eq!(hash(0x00, b"tiny"), Err(VerifyError::UnknownHash("0x0".to_owned())));
}

#[test]
fn a_block_in_its_own_name_needs_no_fetching() {
    let inline = Cid::new_v1(Codec::Raw as u64, Multihash::wrap(0, b"tiny").unwrap());
    assert_eq!(inlined(&inline), Some(&b"tiny"[..]));
    assert_eq!(verify(&inline, b"tiny"), Ok(()));
    assert!(verify(&inline, b"tony").is_err());
}

#[test]
fn a_name_in_its_own_name_is_bounded() {
    // The specification's example: 129 bytes of `A`, one more than may be.
    assert!("bafkqbaibifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqi"
        .parse::<Cid>()
        .is_err());
}

#[test]
fn a_hash_function_that_is_not_believed_is_named() {
    let md5 = Cid::new_v1(0x55, Multihash::wrap(0xd5, &[0; 16]).unwrap());
    assert_eq!(verify(&md5, b""), Err(VerifyError::UnknownHash("md5".to_owned())));
    let unknown = Cid::new_v1(0x55, Multihash::wrap(0x4242, &[0; 16]).unwrap());
    assert!(verify(&unknown, b"").unwrap_err().to_string().contains("0x4242"));
}

#[test]
fn a_digest_cut_short_is_refused() {
    let whole = sha2_256(Codec::Raw, b"data");
    let short = Cid::new_v1(0x55, Multihash::wrap(SHA2_256, &whole.hash().digest()[..8]).unwrap());
    assert!(matches!(verify(&short, b"data"), Err(VerifyError::DigestLength { wanted: 32, found: 8, .. })));
}

/// Digests of no bytes at all, as the functions' own documents print them.
#[test]
fn each_hash_function_is_the_one_of_its_number() {
    for (code, empty) in [
        (0x11, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (0x12, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            0x13,
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            0x14,
            "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558f500199d95b6d3e301758586281dcd26",
        ),
        (0x16, "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
        (0x17, "6b4e03423667dbb73b6e15454f0eb1abd4597f9a1b078e3f5b5a6bc7"),
        (0x1b, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (0x1e, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (0x56, "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"),
        (0xb220, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"),
        (0xb260, "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9"),
    ] {
        let digest = data_encoding::HEXLOWER.decode(empty.as_bytes()).unwrap();
        let cid = Cid::new_v1(Codec::Raw as u64, Multihash::wrap(code, &digest).unwrap());
        assert_eq!(verify(&cid, b""), Ok(()), "{code:#x}");
        assert!(verify(&cid, b"x").is_err(), "{code:#x}");
    }
}

#[test]
fn codecs_are_known_by_number() {
    assert_eq!(Codec::try_from(0x70), Ok(Codec::DagPb));
    assert_eq!(Codec::try_from(0x0129), Ok(Codec::DagJson));
    assert_eq!(Codec::try_from(0x99), Err(UnknownCodec(0x99)));
}
