//! Any bytes are a CAR or none, the same one in pieces of any size; its blocks, written again, are read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_dag::car::{self, CarError, CarItem, CarReader};

fn read(stream: &[u8], piece: usize) -> Result<Vec<CarItem>, CarError> {
    let mut reader = CarReader::new();
    let mut items = Vec::new();
    for bytes in stream.chunks(piece) {
        reader.push(bytes);
        while let Some(item) = reader.next()? {
            items.push(item);
        }
    }
    reader.finish()?;
    Ok(items)
}

fuzz_target!(|stream: &[u8]| {
    let read_whole = read(stream, usize::MAX);
    assert_eq!(read(stream, 7).is_ok(), read_whole.is_ok());
    let Ok(items) = read_whole else { return };
    let mut again = Vec::new();
    for item in &items {
        match item {
            CarItem::Roots(roots) => again.extend(car::header(roots)),
            CarItem::Block(cid, block) => {
                again.extend(car::section(cid, block.len()));
                again.extend_from_slice(block);
            }
        }
    }
    assert_eq!(read(&again, 100), Ok(items));
});
