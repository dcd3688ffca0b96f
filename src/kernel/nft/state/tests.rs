use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::desired::Affinity;
use crate::kernel::nft::model::{Model, Stored, Table};
use crate::kernel::nft::{NatTable, Ruleset};

fn endpoint(last: u8) -> Endpoint {
    ([10, 244, 1, last].into(), 8080)
}

#[test]
fn slots_keep_their_endpoints() {
    let held: Vec<Endpoint> = [1, 2, 3, 4].map(endpoint).to_vec();
    let to = |wanted: &[u8]| reslot(&held, wanted.iter().copied().map(endpoint));
    let slots = |all: &[u8]| all.iter().copied().map(endpoint).collect::<Vec<_>>();
    assert_eq!(to(&[1, 2, 3, 4]), held);
    assert_eq!(to(&[1, 3, 4]), slots(&[1, 4, 3]), "the last moves into the hole");
    assert_eq!(to(&[1, 2, 3]), slots(&[1, 2, 3]), "the last goes");
    assert_eq!(to(&[1, 9, 3, 4]), slots(&[1, 9, 3, 4]), "a newcomer takes the place");
    assert_eq!(to(&[0, 1, 2, 3, 4]), slots(&[1, 2, 3, 4, 0]), "a newcomer comes last");
    assert_eq!(to(&[2]), slots(&[2]));
    assert_eq!(to(&[]), []);
}

/// What two loads of the same `Nat` have in common whatever came before: endpoints as sets, and no chains that nothing
/// leads to.
fn normal(model: &Model) -> Model {
    let mut model = model.clone();
    for table in model.tables.values_mut() {
        let led_to: BTreeSet<Chain> = table.sets.values().flat_map(BTreeMap::values).filter_map(target).collect();
        table.chains.retain(|chain, _| !matches!(chain, Chain::Balancer(_)) || led_to.contains(chain));
        // They are made when they are needed, and stay.
        table.sets.retain(|set, elements| !Set::AFFINITY.contains(set) || !elements.is_empty());
        for set in [Set::ServiceEndpoints, Set::NodePortEndpoints, Set::LocalEndpoints, Set::LocalNodePortEndpoints] {
            let sorted = sort_slots(table, set);
            table.sets.insert(set, sorted);
        }
    }
    model
}

fn target(stored: &Stored) -> Option<Chain> {
    match stored.data {
        Data::Verdict(Verdict::Goto(chain)) => Some(chain),
        _ => None,
    }
}

/// Each front's endpoints in order; their indices must be 0, 1, 2 and so on.
fn sort_slots(table: &Table, set: Set) -> BTreeMap<Value, Stored> {
    let mut fronts: BTreeMap<Value, Vec<(u32, Stored)>> = BTreeMap::new();
    for (key, stored) in &table.sets[&set] {
        let (front, index) = key.bytes().split_last_chunk::<4>().unwrap();
        fronts.entry(Value::EMPTY.field(front)).or_default().push((u32::from_ne_bytes(*index), stored.clone()));
    }
    let mut sorted = BTreeMap::new();
    for (front, mut slots) in fronts {
        slots.sort_by_key(|(index, _)| *index);
        assert!(slots.iter().map(|(index, _)| *index).eq(0..slots.len() as u32), "slots of {front:?} have holes");
        slots.sort_by_key(|(_, stored)| match stored.data {
            Data::Value(value) => value,
            _ => Value::EMPTY,
        });
        sorted.extend(slots.into_iter().zip(0u32..).map(|((_, stored), index)| (front.native(index), stored)));
    }
    sorted
}

fn service_at(address: IpAddr) -> ServiceAddress {
    ServiceAddress { address, protocol: Protocol::Tcp, port: 80 }
}

/// A few Services on few addresses, so that a sequence of these comes back to the same keys.
fn random(rng: &mut StdRng) -> Nat {
    let mut nat = Nat {
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap()],
        service_subnets: vec!["10.96.0.0/12".parse().unwrap()],
        ..Nat::default()
    };
    let six = rng.random_bool(0.5);
    let backend = |rng: &mut StdRng, six: bool| {
        let count = rng.random_range(0..6);
        let address = |rng: &mut StdRng| -> IpAddr {
            let last = rng.random_range(1..9u8);
            if six && rng.random_bool(0.5) {
                format!("fd01::{last}").parse().unwrap()
            } else {
                [10, 244, 1, last].into()
            }
        };
        Backend {
            service: ["default/web:http", "default/web:https", "other/db"][rng.random_range(0..3)].to_string(),
            endpoints: (0..count).map(|_| (address(rng), 8080)).collect(),
            is_external: rng.random_bool(0.3),
            local: rng.random_bool(0.4).then(|| (0..count).map(|_| (address(rng), 8080)).skip(2).collect()),
            has_others: rng.random_bool(0.2),
            affinity: rng.random_bool(0.3).then(|| Affinity {
                service: ["10.96.0.9", "fd00::9"].map(|ip| service_at(ip.parse().unwrap())).to_vec(),
                seconds: [60, 10800][rng.random_range(0..2)],
            }),
        }
    };
    for _ in 0..rng.random_range(0..8) {
        let last = rng.random_range(1..4u8);
        let address = if six && rng.random_bool(0.4) {
            format!("fd00::{last}").parse().unwrap()
        } else {
            IpAddr::from([10, 96, 0, last])
        };
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][rng.random_range(0..3)];
        let port = [80, 443][rng.random_range(0..2)];
        let backend = backend(rng, six);
        nat.services.insert(ServiceAddress { address, protocol, port }, backend);
    }
    for _ in 0..rng.random_range(0..4) {
        let backend = backend(rng, six);
        nat.node_ports.insert((Protocol::Tcp, rng.random_range(30000..30004)), backend);
    }
    for _ in 0..rng.random_range(0..4) {
        nat.hairpin.insert([10, 244, 1, rng.random_range(1..9)].into());
    }
    nat
}

#[test]
fn changes_lead_to_what_a_load_gives() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut table = NatTable::new(Model::default());
        table.load(&Arc::new(random(&mut rng))).unwrap();
        let mut reloads = 0;
        for step in 0..60 {
            let nat = Arc::new(random(&mut rng));
            let changed = table.change(&nat).unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            reloads += usize::from(changed.reloaded);
            let loaded = Model::of(&nat).unwrap();
            assert_eq!(normal(table.ruleset()), normal(&loaded), "seed {seed}, step {step}");
        }
        assert!(reloads < 50, "most steps must be changes to test anything, {reloads} were loads");
    }
}

#[test]
fn model_refuses_what_the_kernel_refuses() {
    let nat = Arc::new(Nat::default());
    let mut model = Model::of(&nat).unwrap();
    let key = Value::EMPTY.address([10, 96, 0, 1].into());
    let element = Element { key, data: Data::None, comment: "" };
    let add = Op::AddElements(Family::Ip, Set::ClusterIps, vec![element]);
    model.commit(std::slice::from_ref(&add)).unwrap();
    let before = model.clone();
    assert!(model.commit(&[add]).is_err(), "it is there");
    let lost = Op::DeleteElements(Family::Ip, Set::ClusterIps, vec![key, key]);
    assert!(model.commit(&[lost]).is_err(), "it is gone the second time");
    assert_eq!(model, before, "nothing of a refused transaction stays");
    let data =
        Data::Verdict(Verdict::Goto(Chain::Balancer(Balancer { to: Target::ClusterIp, count: 7, affinity: None })));
    let nowhere = Element { key: key.protocol(Protocol::Tcp).port(80), data, comment: "" };
    assert!(model.commit(&[Op::AddElements(Family::Ip, Set::ServiceIps, vec![nowhere])]).is_err(), "no such chain");
}
