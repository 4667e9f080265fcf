//! Tests of the home slot: when a worktree returns to it, and the errors if it cannot.

use super::*;

/// Moves a worktree to the slot after its home because a process listens there. Returns the table.
fn displaced(request: &Request) -> Vec<LeaseRow> {
    let lease = decide(&[], request, &mut busy(&[3147])).unwrap();
    let away = lease.away.clone().unwrap();
    assert_eq!((lease.slot, away.home, away.returns), (48, 47, true));
    assert!(away.to_string().contains("node server.js"), "{away}");
    vec![row(request, &lease)]
}

#[test]
fn a_worktree_displaced_by_a_process_returns_home_once_the_process_is_gone() {
    let stay = request(TWINS[0]);
    let table = displaced(&stay);
    let back = Request { homing: Homing::Return, ..stay.clone() };
    let lease = decide(&table, &back, &mut free).unwrap();
    assert_eq!((lease.slot, lease.left, lease.away), (47, Some(48), None));
    let lease = decide(&table, &back, &mut busy(&[8147])).unwrap();
    assert_eq!((lease.slot, lease.left), (48, None));
    assert_eq!(lease.away.unwrap().port, Some(8147), "the reason is that of this call");
    assert_eq!(decide(&table, &stay, &mut free).unwrap().slot, 48, "something may run there");
    assert!(recall(&table, &stay).unwrap().away.unwrap().returns);
}

#[test]
fn a_worktree_displaced_by_a_lease_returns_home_only_on_request() {
    let (one, two) = (request(TWINS[0]), request(TWINS[1]));
    let first = decide(&[], &one, &mut free).unwrap();
    let lease = decide(&[row(&one, &first)], &two, &mut free).unwrap();
    assert!(!lease.away.as_ref().unwrap().returns);
    let alone = [row(&two, &lease)];
    let back = Request { homing: Homing::Return, ..two.clone() };
    assert_eq!(decide(&alone, &back, &mut free).unwrap().slot, 48);
    let now = Request { homing: Homing::Now, ..two };
    assert_eq!(decide(&alone, &now, &mut free).unwrap().slot, 47);
    let both = [row(&one, &first), row(&now, &lease)];
    let PortsError::NotHome(moved) = decide(&both, &now, &mut free).unwrap_err() else { panic!() };
    assert_eq!(moved.obstacle, Obstacle::leased(Path::new(TWINS[0])));
}

#[test]
fn the_fix_for_a_busy_port_ends_its_holder() {
    let fix = |obstacle| PortsError::Busy(Moved { wanted: 47, port: 3147, obstacle }).fix().unwrap();
    let of = |by_hand| Holder { worktree: Some("/w/a b".into()), by_hand, ..other_process() };
    assert!(fix(Obstacle::Busy(of(false))).contains("`devrun -C '/w/a b' down`"));
    let by_hand = fix(Obstacle::Busy(of(true)));
    assert!(by_hand.contains("`kill 7`") && !by_hand.contains("down"), "{by_hand}");
    assert!(fix(Obstacle::OwnServer(of(true))).contains("devrun up -d --replace"));
    let own = Holder { age: Some(125), ..of(true) };
    assert_eq!(
        Obstacle::OwnServer(own).to_string(),
        "is taken: this worktree's own server already runs here (pid 7, node server.js, for 2 min)"
    );
}

#[test]
fn an_unknown_reason_of_another_version_leaves_the_lease_readable() {
    let text = r#"{"leases":[{"worktree":"/w","slot":3,"away":{"home":2,"obstacle":{"kind":"eclipse"}}}]}"#;
    let reading = LeaseTable::parse(text.as_bytes());
    assert!(!reading.damaged);
    assert_eq!((reading.table.rows[0].slot, &reading.table.rows[0].away), (3, &None));
}

#[test]
fn a_recorded_reason_is_stored_without_its_age() {
    let request = request(TWINS[0]);
    let aged = Holder { age: Some(9), ..other_process() };
    let mut look = |port| if port == 3147 { PortState::OwnByHand(aged.clone()) } else { PortState::Free };
    let lease = decide(&[], &request, &mut look).unwrap();
    let mut table = LeaseTable::default();
    table.rows.push(row(&request, &lease));
    let away = LeaseTable::parse(&table.to_bytes()).table.rows[0].away.clone().unwrap();
    assert_eq!(away.obstacle, Some(Obstacle::OwnServer(other_process())));
    assert_eq!((away.home, away.port, away.returns), (47, Some(3147), true));
}
