use proptest::prelude::*;

use super::*;
use crate::testing::{Blocks, key_stream_names};

/// A directory of these names, in which every file is a single `x`.
fn of_names(profile: &Profile, names: &[String]) -> (Built, usize) {
    let mut blocks = Blocks::default();
    let file = blocks.file(profile, b"x");
    let mut entries: Vec<_> =
        names.iter().map(|name| Entry::new(name.as_bytes(), &file.cid, file.tsize).unwrap()).collect();
    let built =
        build(profile, &mut entries, &Metadata::NONE, &mut |cid, block| blocks.put(cid, block)).unwrap();
    (built, blocks.0.len() - 1)
}

/// The table of IPIP-499: a directory that is exactly as large as one block may be, and one a byte larger.
#[test]
fn directories_have_the_cids_of_the_proposal() {
    let (v0, v1) = (Profile::v0_2015(), Profile::v1_2025());
    let (seed0, seed1) = ("hamt-unixfs-v0-2015", "hamt-unixfs-v1-2025");
    for (profile, names, cid, shards) in [
        (&v0, key_stream_names(seed0, 4096, 30, 30), "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN", false),
        (&v0, key_stream_names(seed0, 4033, 31, 31), "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP", true),
        (
            &v1,
            key_stream_names(seed1, 4766, 11, 21),
            "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
            false,
        ),
        (
            &v1,
            key_stream_names(seed1, 4766, 11, 22),
            "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu",
            true,
        ),
    ] {
        let (built, blocks) = of_names(profile, &names);
        assert_eq!((built.cid.to_string().as_str(), blocks > 1), (cid, shards));
    }
}

#[test]
fn an_empty_directory_is_the_one_that_everybody_has() {
    for (profile, cid) in [
        (Profile::v0_2015(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
        (Profile::v1_2025(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
    ] {
        assert_eq!(of_names(&profile, &[]).0.cid.to_string(), cid);
    }
}

/// The specification's example of a link.
#[test]
fn a_link_is_that_of_the_specification() {
    let profile = Profile::v0_2015();
    let mut blocks = Blocks::default();
    let foo = blocks.file(&profile, b"content\n");
    let bar = symlink(&profile, b"foo", &Metadata::NONE, &mut |_, _| {});
    assert_eq!(bar.cid.to_string(), "QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5");
    let mut entries = [("foo", foo), ("bar", bar)]
        .map(|(name, built)| Entry::new(name.as_bytes(), &built.cid, built.tsize).unwrap());
    let built = build(&profile, &mut entries, &Metadata::NONE, &mut |_, _| {}).unwrap();
    assert_eq!(built.cid.to_string(), "QmWvY6FaqFMS89YAQ9NAPjVP4WZKA1qbHbicc9HeSKQTgt");
}

#[test]
fn names_that_climb_or_hide_are_refused() {
    let cid = crate::sha2_256(crate::Codec::Raw, b"");
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
        assert!(matches!(Entry::new(name, &cid, 0), Err(BuildError::Name(_))), "{name:?}");
    }
    let entry = Entry::new(b"..a", &cid, 7).unwrap();
    assert_eq!((entry.name(), entry.tsize(), entry.cid_bytes()), (&b"..a"[..], 7, &cid.to_bytes()[..]));
}

#[test]
fn a_name_twice_is_refused() {
    let cid = crate::sha2_256(crate::Codec::Raw, b"");
    let mut entries = ["b", "a", "b"].map(|name| Entry::new(name.as_bytes(), &cid, 0).unwrap());
    let refused = build(&Profile::default(), &mut entries, &Metadata::NONE, &mut |_, _| {});
    assert_eq!(refused, Err(BuildError::Duplicate("b".to_owned())));
}

proptest! {
    #[test]
    fn the_order_of_entries_does_not_matter(
        names in prop::collection::hash_set("[a-z]{1,8}", 0..60).prop_map(Vec::from_iter).prop_shuffle(),
        settings in prop::sample::select(vec!["fanout=256", "threshold-bytes=0,fanout=8", "threshold-bytes=0,fanout=1024"]),
    ) {
        let profile: Profile = settings.parse().unwrap();
        let mut sorted = names.clone();
        sorted.sort();
        prop_assert_eq!(of_names(&profile, &names), of_names(&profile, &sorted));
    }
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<Entry>() <= 32);
}
