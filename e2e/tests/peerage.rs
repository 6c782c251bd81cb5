//! Peerage with Peerage, in a network of their own.

use peerage_e2e::{Peerage, alone, sample};

#[test]
fn two_nodes_need_nothing_but_the_link() {
    alone(|| {
        let room = tempfile::tempdir().unwrap();
        let (ada, ben) = (room.path().join("ada"), room.path().join("ben"));
        sample::odd_folder(&ada.join("odd"));
        let mut share = Peerage::share(&ada, &["odd", "--no-dht", "--no-lan", "--listen", "10.77.0.1:0"]);
        let magnet = share.metadata()["magnet"].as_str().unwrap().to_owned();
        let mut get = Peerage::get(&ben, &[&magnet, "--no-dht", "--no-lan", "--listen", "10.77.0.2:0"]);
        get.complete();
        assert!(get.end().success());
        sample::assert_same(&ada.join("odd"), &ben.join("odd"));
    });
}
