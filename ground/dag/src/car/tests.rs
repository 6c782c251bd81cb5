use proptest::prelude::*;

use super::*;
use crate::{Codec, sha2_256};

fn cid(seed: &[u8]) -> Cid {
    sha2_256(Codec::Raw, seed)
}

fn car(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut car = header(&[cid(b"root")]);
    for block in blocks {
        let before = car.len() as u64;
        car.extend(section(&cid(block), block.len()));
        car.extend(block);
        assert_eq!(car.len() as u64 - before, section_len(&cid(block), block.len()));
    }
    car
}

/// Reads a stream in pieces of this length.
fn read(car: &[u8], piece: usize) -> Result<Vec<CarItem>, CarError> {
    let mut reader = CarReader::new();
    let mut items = Vec::new();
    for bytes in car.chunks(piece) {
        reader.push(bytes);
        while let Some(item) = reader.next()? {
            items.push(item);
        }
    }
    reader.finish()?;
    Ok(items)
}

/// A version 2 around a version 1.
fn v2(car: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
    let mut out = vec![0x0a, 0xa1, 0x67, b'v', b'e', b'r', b's', b'i', b'o', b'n', 2];
    out.extend([0; 16]);
    out.extend((V2_HEAD_LEN + padding as u64).to_le_bytes());
    out.extend((car.len() as u64).to_le_bytes());
    out.extend([0; 8]);
    out.extend(vec![0xff; padding]);
    out.extend(car);
    out.extend(index);
    out
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_pieces_of_any_size(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
        piece in 1..500_usize,
        padding in 0..50_usize,
    ) {
        let car = car(&blocks);
        let mut expected = vec![CarItem::Roots(vec![cid(b"root")])];
        expected.extend(blocks.into_iter().map(|block| CarItem::Block(cid(&block), block.into())));
        prop_assert_eq!(read(&car, piece), Ok(expected.clone()));
        prop_assert_eq!(read(&v2(&car, padding, b"index"), piece), Ok(expected.clone()));
        prop_assert_eq!(read(&v2(&car, padding, b""), piece), Ok(expected));
    }

    #[test]
    fn a_stream_that_is_cut_is_noticed(at in any::<prop::sample::Index>()) {
        let car = car(&[b"hello".to_vec(), b"world".to_vec()]);
        let at = at.index(car.len());
        let ends = [header(&[cid(b"root")]).len(), car.len() - section_len(&cid(b"world"), 5) as usize];
        prop_assert_eq!(read(&car[..at], 7).is_ok(), ends.contains(&at));
        let whole = v2(&car, 3, b"");
        prop_assert_eq!(read(&whole[..whole.len() - car.len() + at], 7), Err(CarError::Truncated));
    }
}

#[test]
fn the_header_is_that_of_the_specification() {
    let header = header(&[cid(b"")]);
    let hex = "3aa265726f6f747381d82a58250001551220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8556776657273696f6e01";
    assert_eq!(data_encoding::HEXLOWER.encode(&header), hex);
}

#[test]
fn what_is_no_car_is_refused() {
    for (car, why) in [
        (&[0x80, 0x80, 0x80, 0x80, 0x01][..], CarError::TooLong(1 << 28)),
        (&[0xff; 11], CarError::Section),
        (&[0x81, 0x00, 0xa0], CarError::Section), // a length in a longer form than needed
        (&[0x0a, 0xa1, 0x67, b'v', b'e', b'r', b's', b'i', b'o', b'n', 3], CarError::Version(3)),
        (
            &[0x0a, 0xa1, 0x67, b'v', b'e', b'r', b's', b'i', b'o', b'n', 1],
            CarError::Header("no roots".to_owned()),
        ),
        (&[], CarError::Truncated),
    ] {
        assert_eq!(read(car, 4), Err(why), "{car:?}");
    }
    assert!(matches!(read(&[1, 0xa0], 4), Err(CarError::Header(_))));
}

#[test]
fn sections_are_bounded_and_have_a_cid() {
    let head = header(&[]);
    let with = |section: &[u8]| read(&[&head, section].concat(), 64);
    assert_eq!(with(&[0]), Err(CarError::Section));
    assert_eq!(with(&[3, 1, 2, 3]), Err(CarError::Section));
    assert_eq!(with(&[0x80, 0x80, 0x80, 0x02]), Err(CarError::TooLong(1 << 22)));
    let largest = vec![7; BLOCK_LEN_MAX];
    assert!(read(&car(std::slice::from_ref(&largest)), 1 << 16).is_ok());
    let larger = [largest, vec![7]].concat();
    assert_eq!(read(&car(&[larger]), 1 << 16), Err(CarError::TooLong(BLOCK_LEN_MAX as u64 + 1)));
}

#[test]
fn a_version_2_may_not_hold_itself_nor_overlap() {
    let inner = car(&[]);
    assert_eq!(read(&v2(&v2(&inner, 0, b""), 0, b""), 64), Err(CarError::Version(2)));
    let mut overlapping = v2(&inner, 0, b"");
    overlapping[27] = 50;
    assert!(matches!(read(&overlapping, 64), Err(CarError::Header(_))));
    let mut short = v2(&inner, 0, b"");
    short[35] -= 1;
    assert_eq!(read(&short, 64), Err(CarError::Truncated));
}
