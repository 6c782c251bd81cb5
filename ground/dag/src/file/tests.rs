use super::*;
use crate::testing::{Blocks, hash_file, key_stream};

/// The table of IPIP-499, but for its files of 45 MB and 1 GiB. tests/importer.rs compares files of such sizes, of other bytes.
#[test]
fn files_have_the_cids_of_the_proposal() {
    let (v0, v1) = (Profile::v0_2015(), Profile::v1_2025());
    for (profile, length, seed, cid) in [
        (&v0, 1 << 18, "chunk-v0-seed", "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
        (&v0, (1 << 18) + 1, "chunk-v0-seed", "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        (&v1, 1 << 20, "chunk-v1-seed", "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
        (&v1, (1 << 20) + 1, "chunk-v1-seed", "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
    ] {
        let built = hash_file(profile, length, key_stream(seed), &mut |_, _| {});
        assert_eq!((built.cid.to_string().as_str(), built.size), (cid, length));
    }
}

#[test]
fn sizes_of_trees_count_every_block() {
    let mut blocks = Blocks::default();
    let profile: Profile = "chunk-size=10,width=3".parse().unwrap();
    let bytes: Vec<u8> = (0..105).collect();
    let built = blocks.file(&profile, &bytes);
    assert_eq!(built.size, 105);
    assert_eq!(built.tsize, blocks.0.values().map(|block| block.len() as u64).sum::<u64>());
    // 11 leaves, 4 nodes above them, 2 above those, and the root.
    assert_eq!(blocks.0.len(), 11 + 4 + 2 + 1);
}

#[test]
fn only_the_root_keeps_mode_and_time() {
    let profile: Profile = "chunk-size=1,width=2".parse().unwrap();
    let metadata = Metadata { mode: Some(0o755), mtime: None };
    let leaves: [[u8; 32]; 3] = [[1; 32], [2; 32], [3; 32]];
    let mut kept = Vec::new();
    build_with(&profile, 3, &leaves, &metadata, &mut |_, block| {
        let node = crate::pb::Node::decode(&block).unwrap();
        kept.push(Data::of(&node).unwrap().metadata.mode);
    });
    assert_eq!(kept, [None, None, Some(0o755)]);
}

#[test]
#[should_panic(expected = "leaves of a file of 3 bytes")]
fn leaves_that_are_missing_are_a_mistake_of_the_caller() {
    build(&Profile::default(), 3, &[], &mut |_, _| {});
}
