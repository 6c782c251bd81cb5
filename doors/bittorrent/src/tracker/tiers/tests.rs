use super::*;
use proptest::prelude::*;

const DEFAULT: Breadth = Breadth { all_tiers: true, all_trackers: false };

fn url(name: &str) -> TrackerUrl {
    TrackerUrl::parse(&format!("http://{name}.example/announce")).unwrap()
}

fn tiers(names: &[&[&str]], breadth: Breadth, now: Instant) -> Tiers {
    Tiers::new(
        names.iter().map(|tier| tier.iter().map(|name| url(name)).collect()).collect(),
        breadth,
        1,
        now,
    )
}

fn response(interval: u64, interval_min: Option<u64>) -> AnnounceResponse {
    AnnounceResponse {
        interval: Duration::from_secs(interval),
        interval_min: interval_min.map(Duration::from_secs),
        ..AnnounceResponse::default()
    }
}

fn failure() -> TrackerError {
    TrackerError::Refused("no".to_owned())
}

fn poll_all(tiers: &mut Tiers, now: Instant) -> Vec<Due> {
    std::iter::from_fn(|| tiers.poll(now)).collect()
}

fn order(tiers: &Tiers) -> Vec<String> {
    tiers.status().iter().map(|status| status.url.host().replace(".example", "")).collect()
}

/// BEP 12: "if a connection with a tracker is successful, it will be moved to the front of the tier", and the others of the
/// tier are "tried in order" when it fails.
#[test]
fn the_first_tracker_that_works_moves_to_the_front() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a", "b", "c"]], DEFAULT, now);
    let initial = order(&tiers);
    for failed in &initial[..2] {
        let due = tiers.poll(now).unwrap();
        assert_eq!(due.url, url(failed));
        assert_eq!(tiers.poll(now), None, "one of a tier at a time");
        tiers.handle_failure(now, due.tracker, &failure());
    }
    let due = tiers.poll(now).unwrap();
    assert_eq!(due.url, url(&initial[2]));
    tiers.handle_response(now, due.tracker, &response(1800, None));
    assert_eq!(order(&tiers)[0], initial[2]);
    let later = now + Duration::from_secs(1700);
    assert_eq!(tiers.poll(later), None, "those that failed are left alone while one works");
    let again = tiers.poll(now + Duration::from_secs(1800).mul_f64(1.1)).unwrap();
    assert_eq!(again.url, url(&initial[2]));
}

/// BEP 12: "the order of the trackers within each tier will be randomly shuffled", tiers keep theirs.
#[test]
fn tiers_are_shuffled_inside() {
    let now = Instant::now();
    let names = [vec![url("a"), url("b"), url("c"), url("d")], vec![url("x")]];
    let orders: std::collections::HashSet<_> =
        (0..50).map(|seed| order(&Tiers::new(names.to_vec(), DEFAULT, seed, now))).collect();
    assert!(orders.len() > 10);
    assert!(orders.iter().all(|order| order[4] == "x"));
}

#[test]
fn breadth_decides_how_many_are_asked() {
    let now = Instant::now();
    let names: &[&[&str]] = &[&["a", "b"], &["c", "d"]];
    for (all_tiers, all_trackers, expected) in
        [(true, false, 2), (true, true, 4), (false, false, 1), (false, true, 2)]
    {
        let mut tiers = tiers(names, Breadth { all_tiers, all_trackers }, now);
        assert_eq!(poll_all(&mut tiers, now).len(), expected);
    }
}

/// BEP 12: "the next tier is tried only when all trackers of the one before failed".
#[test]
fn a_narrow_breadth_falls_back_to_the_next_tier() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"]], Breadth { all_tiers: false, all_trackers: false }, now);
    let first = tiers.poll(now).unwrap();
    assert_eq!((first.url.clone(), tiers.poll(now)), (url("a"), None));
    tiers.handle_failure(now, first.tracker, &failure());
    assert_eq!(tiers.poll(now).unwrap().url, url("b"));
}

#[test]
fn started_is_said_until_it_is_heard() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"]], DEFAULT, now);
    let due = tiers.poll(now).unwrap();
    assert_eq!(due.event, Event::Started);
    tiers.handle_failure(now, due.tracker, &failure());
    let at = tiers.poll_timeout().unwrap();
    assert!(at >= now + RETRY_FIRST && at <= now + RETRY_FIRST.mul_f64(1.0 + SPREAD));
    let due = tiers.poll(at).unwrap();
    assert_eq!(due.event, Event::Started);
    tiers.handle_response(at, due.tracker, &response(1800, None));
    let at = tiers.poll_timeout().unwrap();
    assert_eq!(tiers.poll(at).unwrap().event, Event::Regular);
}

#[test]
fn completed_is_said_once_to_those_who_saw_it_start() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"]], DEFAULT, now);
    let dues = poll_all(&mut tiers, now);
    tiers.handle_response(now, dues[0].tracker, &response(1800, None));
    tiers.handle_failure(now, dues[1].tracker, &failure());
    tiers.complete(now);
    let due = tiers.poll(now).unwrap();
    assert_eq!((due.tracker, due.event), (dues[0].tracker, Event::Completed));
    assert_eq!(tiers.poll(now), None);
    tiers.handle_response(now, due.tracker, &response(1800, None));
    let day = now + Duration::from_secs(86_400);
    let events: Vec<_> = poll_all(&mut tiers, day).into_iter().map(|due| due.event).collect();
    assert_eq!(events, [Event::Regular, Event::Started]);
}

#[test]
fn completion_during_an_announce_is_not_lost() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"]], DEFAULT, now);
    let due = tiers.poll(now).unwrap();
    tiers.complete(now);
    tiers.handle_response(now, due.tracker, &response(1800, None));
    assert_eq!(tiers.poll(now).unwrap().event, Event::Completed);
}

#[test]
fn goodbye_goes_to_those_who_saw_it_start_or_may_have() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"], &["c"], &["d"]], DEFAULT, now);
    let dues = poll_all(&mut tiers, now);
    tiers.handle_response(now, dues[0].tracker, &response(1800, None));
    tiers.handle_failure(now, dues[1].tracker, &failure());
    let farewells = tiers.goodbye(|tracker| tracker != dues[3].tracker);
    let told: Vec<_> = farewells.iter().map(|due| (due.tracker, due.event)).collect();
    let expected = [dues[0].tracker, dues[2].tracker].map(|tracker| (tracker, Event::Stopped));
    assert_eq!(told, expected, "one failed, and one was not asked yet");
}

#[test]
fn what_is_owed_comes_before_goodbye() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"], &["c"]], DEFAULT, now);
    let dues = poll_all(&mut tiers, now);
    for due in &dues[..2] {
        tiers.handle_response(now, due.tracker, &response(1800, None));
    }
    tiers.complete(now);
    let asked = tiers.poll(now).unwrap();
    assert_eq!(asked.event, Event::Completed);
    let farewells: Vec<_> = tiers.goodbye(|_| true).iter().map(|due| (due.tracker, due.event)).collect();
    let expected = [
        (dues[0].tracker, Event::Stopped),
        (dues[1].tracker, Event::Completed),
        (dues[1].tracker, Event::Stopped),
        (dues[2].tracker, Event::Completed),
        (dues[2].tracker, Event::Stopped),
    ];
    assert_eq!(asked.tracker, dues[0].tracker);
    assert_eq!(farewells, expected, "the first is being told of the completion");
}

#[test]
fn hurry_does_not_press_a_tracker_that_fails() {
    let mut now = Instant::now();
    let mut tiers = tiers(&[&["a"]], DEFAULT, now);
    for _ in 0..6 {
        let due = tiers.poll(now).unwrap();
        tiers.handle_failure(now, due.tracker, &failure());
        let planned = tiers.poll_timeout();
        tiers.hurry(now);
        assert_eq!(tiers.poll_timeout(), planned);
        now = planned.unwrap();
    }
}

#[test]
fn hurry_is_bounded_by_what_the_tracker_tolerates() {
    let now = Instant::now();
    for (interval, interval_min, expected) in [
        (1800, Some(120), 120),
        (1800, None, 300),
        (1800, Some(1), 60),
        (1800, Some(9_000), 1800),
        (90, None, 90),
        (0, Some(0), 60),
    ] {
        let mut tiers = tiers(&[&["a"]], DEFAULT, now);
        let due = tiers.poll(now).unwrap();
        tiers.handle_response(now, due.tracker, &response(interval, interval_min));
        tiers.hurry(now);
        assert_eq!(tiers.poll_timeout(), Some(now + Duration::from_secs(expected)));
    }
}

#[test]
fn sizes_are_asked_for_rarely_and_not_of_the_dead() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"], &["c"]], DEFAULT, now);
    let dues = poll_all(&mut tiers, now);
    let told = AnnounceResponse { seeders: Some(1), ..response(1800, None) };
    tiers.handle_response(now, dues[0].tracker, &told);
    tiers.handle_response(now, dues[1].tracker, &response(1800, None));
    tiers.handle_failure(now, dues[2].tracker, &failure());
    assert_eq!(tiers.scrapes(now), [(dues[1].tracker, url("b"))]);
    assert_eq!(tiers.scrapes(now), [], "it is being asked");
    let size = Scrape { seeders: 5, completed: 9, leechers: 2 };
    tiers.handle_scrape(dues[1].tracker, size);
    assert_eq!(tiers.status()[1].swarm, Some(size));
    assert_eq!(tiers.scrapes(now + SCRAPE_EVERY).len(), 2);
}

#[test]
fn replacing_keeps_what_is_known() {
    let now = Instant::now();
    let mut tiers = tiers(&[&["a"], &["b"]], DEFAULT, now);
    for due in poll_all(&mut tiers, now) {
        tiers.handle_response(now, due.tracker, &response(1800, None));
    }
    tiers.replace(vec![vec![url("new"), url("a"), url("a")], vec![url("a")]], now);
    assert_eq!(order(&tiers), ["a", "new"]);
    assert_eq!(tiers.poll(now), None, "a works, and b is gone");
    assert_eq!(tiers.goodbye(|_| true).len(), 1);
}

#[test]
fn thousands_of_trackers_are_cut() {
    let now = Instant::now();
    let urls = (0..5_000).map(|number| vec![url(&format!("t{number}"))]).collect();
    assert_eq!(Tiers::new(urls, DEFAULT, 1, now).status().len(), TRACKERS_MAX);
}

proptest! {
    /// Whatever trackers answer, no two announces to one of them are closer than the least of the bounds.
    #[test]
    fn nobody_can_make_us_flood(
        answers in prop::collection::vec((any::<bool>(), any::<u64>(), prop::option::of(any::<u64>()), any::<bool>()), 1..40),
        all_tiers in any::<bool>(),
        all_trackers in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let mut tiers = tiers(&[&["a", "b"], &["c"]], Breadth { all_tiers, all_trackers }, now);
        let mut last = std::collections::HashMap::new();
        for (works, interval, interval_min, hurries) in answers {
            now = tiers.poll_timeout().unwrap().max(now);
            let due = tiers.poll(now).unwrap();
            if let Some(before) = last.insert(due.tracker, now) {
                prop_assert!(now - before >= RETRY_FIRST.min(INTERVAL_MIN));
                prop_assert!(now - before <= INTERVAL_MAX.mul_f64(1.0 + SPREAD) * 40);
            }
            if works {
                tiers.handle_response(now, due.tracker, &response(interval, interval_min));
            } else {
                tiers.handle_failure(now, due.tracker, &failure());
            }
            if hurries {
                tiers.hurry(now);
            }
        }
    }
}
