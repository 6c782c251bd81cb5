use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { providers: 200, values: 2 };

fn provider(expires: u64, address: &[u8]) -> Provider {
    Provider { expires, addresses: vec![address.to_vec()] }
}

fn later() -> u64 {
    now() + 1000
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("overlay.redb");
    let (first, second) = (provider(later(), b"one"), provider(later(), b"two"));
    let value = Value { expires: later(), bytes: b"value".to_vec() };
    let (storage, thread) = Storage::open(Some(&path), BOUNDS).unwrap();
    storage.put_provider(Network::Public, b"key", b"a".to_vec(), first.clone());
    storage.put_provider(Network::Public, b"key", b"b".to_vec(), second.clone());
    storage.put_provider(Network::Lan, b"key", b"c".to_vec(), second.clone());
    storage.put_value(Network::Public, b"key", value.clone());
    storage.put_peers(vec![(b"peer".to_vec(), first.clone())]);
    storage.close(thread);

    let (storage, thread) = Storage::open(Some(&path), BOUNDS).unwrap();
    let expected = [(b"a".to_vec(), first.clone()), (b"b".to_vec(), second)];
    assert_eq!(storage.providers(Network::Public, b"key"), expected);
    assert_eq!(storage.providers(Network::Public, b"ke"), []);
    assert_eq!(storage.value(Network::Public, b"key"), Some(value));
    assert_eq!(storage.value(Network::Lan, b"key"), None);
    assert_eq!(storage.peers(), [(b"peer".to_vec(), first)]);
    storage.close(thread);
}

#[test]
fn what_has_expired_is_not_read() {
    let (storage, _thread) = Storage::open(None, BOUNDS).unwrap();
    storage.put_provider(Network::Public, b"key", b"a".to_vec(), provider(now(), b"one"));
    storage.put_value(Network::Public, b"key", Value { expires: now(), bytes: Vec::new() });
    storage.settle();
    assert_eq!(storage.providers(Network::Public, b"key"), []);
    assert_eq!(storage.value(Network::Public, b"key"), None);
}

#[test]
fn what_has_expired_is_removed_when_the_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("overlay.redb");
    let (storage, thread) = Storage::open(Some(&path), BOUNDS).unwrap();
    storage.put_provider(Network::Public, b"key", b"a".to_vec(), provider(now(), b"one"));
    storage.put_provider(Network::Public, b"key", b"b".to_vec(), provider(later(), b"two"));
    storage.put_value(Network::Lan, b"key", Value { expires: now(), bytes: Vec::new() });
    storage.close(thread);
    let db = Database::open(&path).unwrap();
    let read = db.begin_read().unwrap();
    let count =
        |table: ValueTable| redb::ReadableTableMetadata::len(&read.open_table(table).unwrap()).unwrap();
    let providers = read.open_table(Network::Public.providers()).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&providers).unwrap(), 1);
    assert_eq!(count(Network::Lan.values()), 0);
}

#[test]
fn sweeps_come_to_every_row_and_begin_anew() {
    let (storage, _) = Storage::open(None, Bounds { providers: 1000, values: 10 }).unwrap();
    let mut writer = Writer::new(storage.db.clone(), Bounds { providers: 1000, values: 10 });
    let row = |n: u16| Write::Provider {
        network: Network::Public,
        key: n.to_be_bytes().to_vec(),
        peer: b"a".to_vec(),
        provider: provider(if n.is_multiple_of(7) { now() } else { later() }, b"x"),
    };
    let left = || {
        let table = storage.db.begin_read().unwrap().open_table(Network::Public.providers()).unwrap();
        redb::ReadableTableMetadata::len(&table).unwrap()
    };
    for _ in 0..2 {
        writer.commit((0..350).map(row).collect(), false).unwrap();
        assert_eq!(left(), 350);
        (0..5).for_each(|_| writer.commit(vec![row(1)], true).unwrap());
        assert_eq!(left(), 300);
    }
}

#[test]
fn a_flood_drives_nobody_out() {
    let (storage, _thread) = Storage::open(None, BOUNDS).unwrap();
    let honest = provider(later(), b"honest");
    storage.put_provider(Network::Public, b"key", b"someone".to_vec(), honest.clone());
    for n in 0..200_u8 {
        storage.put_provider(Network::Public, b"key", vec![n], provider(later(), b"flood"));
    }
    for n in 0..255_u8 {
        storage.put_provider(Network::Public, &[n], vec![n], provider(later(), b"flood"));
        storage.put_value(Network::Public, &[n], Value { expires: later(), bytes: vec![n] });
    }
    storage.settle();
    let providers = storage.providers(Network::Public, b"key");
    assert_eq!(providers.len(), PROVIDERS_PER_KEY);
    assert!(providers.contains(&(b"someone".to_vec(), honest)));
    let kept = (0..255_u8).filter(|n| !storage.providers(Network::Public, &[*n]).is_empty()).count();
    assert_eq!(kept, BOUNDS.providers as usize - PROVIDERS_PER_KEY);
    let values = (0..255_u8).filter(|n| storage.value(Network::Public, &[*n]).is_some()).count();
    assert_eq!(values, BOUNDS.values as usize);
}

#[test]
fn an_expired_provider_makes_room() {
    let (storage, _thread) = Storage::open(None, BOUNDS).unwrap();
    for n in 0..PROVIDERS_PER_KEY {
        let expires = if n == 7 { now() } else { later() };
        storage.put_provider(Network::Public, b"key", vec![n as u8], provider(expires, b"x"));
    }
    storage.put_provider(Network::Public, b"key", b"new".to_vec(), provider(later(), b"x"));
    storage.settle();
    let providers = storage.providers(Network::Public, b"key");
    assert!(providers.iter().any(|(peer, _)| peer == b"new"));
    assert_eq!(providers.len(), PROVIDERS_PER_KEY);
}

proptest! {
    #[test]
    fn rows_are_read_as_they_were_written(expires: u64, addresses: Vec<Vec<u8>>) {
        let row = Provider { expires, addresses };
        prop_assert_eq!(Provider::decode(&row.encode()), Some(row.clone()));
        prop_assert_eq!(codec::expires(&row.encode()), expires);
        let cut = row.encode();
        for length in 0..cut.len() {
            let _ = Provider::decode(&cut[..length]); // without a panic
        }
    }
}
