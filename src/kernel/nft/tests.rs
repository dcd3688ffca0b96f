use std::net::IpAddr;

use super::model::Model;
use super::op::{Balancer, Chain, Op, Set, Target};
use super::*;
use crate::desired::{Backend, Protocol, ServiceAddress};

/// Takes what a model takes, and can be told to fail.
#[derive(Default)]
struct Recorder {
    model: Model,
    log: Vec<String>,
    failing: bool,
}

impl Ruleset for Recorder {
    fn commit(&mut self, ops: &[Op]) -> Result<(), NftError> {
        if self.failing {
            let refusal = Refusal { index: 0, errno: Errno::ENOBUFS, text: None };
            return Err(NftError::Refused { what: "a test".to_string(), refusal });
        }
        self.log.extend(ops.iter().map(Op::to_string));
        self.model.commit(ops)
    }
}

fn nat() -> Nat {
    Nat {
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap()],
        service_subnets: vec!["10.96.0.0/12".parse().unwrap()],
        ..Nat::default()
    }
}

fn web(endpoints: &[&str]) -> (ServiceAddress, Backend) {
    let service = ServiceAddress { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
    let endpoints = endpoints.iter().map(|text| (text.parse::<IpAddr>().unwrap(), 8080)).collect();
    (service, Backend { service: "default/web:http".to_string(), endpoints, ..Backend::default() })
}

fn with_web(endpoints: &[&str]) -> Arc<Nat> {
    Arc::new(Nat { services: [web(endpoints)].into(), ..nat() })
}

#[test]
fn change_before_load_is_an_error() {
    let mut table = NatTable::new(Recorder::default());
    assert!(matches!(table.change(&Arc::new(nat())), Err(NftError::NotLoaded)));
}

#[test]
fn same_value_sends_nothing() {
    let mut table = NatTable::new(Recorder::default());
    table.load(&with_web(&["10.244.1.2"])).unwrap();
    table.ruleset.log.clear();
    assert_eq!(table.change(&with_web(&["10.244.1.2"])).unwrap(), Changed::default());
    assert!(table.ruleset.log.is_empty());
}

#[test]
fn losing_one_of_many_endpoints_touches_a_constant_number_of_elements() {
    let many: Vec<String> = (0..100).map(|last| format!("10.244.1.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut table = NatTable::new(Recorder::default());
    table.load(&with_web(&many)).unwrap();
    // From the middle: the last slot moves there; the map to the chain names another chain.
    let fewer = [&many[..40], &many[41..]].concat();
    let changed = table.change(&with_web(&fewer)).unwrap();
    assert_eq!(changed, Changed { added: 2, deleted: 3, chains: 1, reloaded: false });
    // Replacing one leaves the number as it is.
    let replaced = [&fewer[..7], &fewer[8..], &["10.244.9.9"]].concat();
    let changed = table.change(&with_web(&replaced)).unwrap();
    assert_eq!(changed, Changed { added: 1, deleted: 1, chains: 0, reloaded: false });
    // The chain for 100 is still there.
    let changed = table.change(&with_web(&many)).unwrap();
    assert_eq!((changed.chains, changed.reloaded), (0, false));
}

#[test]
fn losing_all_endpoints_moves_it_to_the_rejected() {
    let mut table = NatTable::new(Recorder::default());
    table.load(&with_web(&["10.244.1.2"])).unwrap();
    table.change(&with_web(&[])).unwrap();
    let sets = &table.ruleset().model.tables[&Family::Ip].sets;
    assert!(sets[&Set::ServiceIps].is_empty() && sets[&Set::ServiceEndpoints].is_empty());
    assert_eq!(sets[&Set::NoEndpointServices].len(), 1);
    assert_eq!(sets[&Set::ClusterIps].len(), 1);
    table.change(&Arc::new(nat())).unwrap();
    assert!(table.ruleset().model.tables[&Family::Ip].sets.values().all(|set| set.is_empty()));
}

#[test]
fn other_subnets_are_a_reload() {
    let mut table = NatTable::new(Recorder::default());
    table.load(&with_web(&["10.244.1.2"])).unwrap();
    let mut other = (*with_web(&["10.244.1.2"])).clone();
    other.pod_subnets = vec!["10.240.0.0/16".parse().unwrap()];
    let other = Arc::new(other);
    assert!(table.change(&other).unwrap().reloaded);
    assert_eq!(table.ruleset().model, Model::of(&other).unwrap());
}

#[test]
fn ipv6_comes_and_goes_with_its_addresses() {
    let mut table = NatTable::new(Recorder::default());
    let four = with_web(&["10.244.1.2"]);
    table.load(&four).unwrap();
    let mut dual = (*four).clone();
    dual.pod_subnets.push("fd00:10:244::/56".parse().unwrap());
    let dual = Arc::new(dual);
    assert!(table.change(&dual).unwrap().reloaded);
    assert_eq!(table.ruleset().model.tables.keys().copied().collect::<Vec<_>>(), Family::ALL);
    assert!(table.change(&four).unwrap().reloaded);
    assert_eq!(table.ruleset().model, Model::of(&four).unwrap());
}

#[test]
fn load_replaces_whatever_is_there() {
    let mut model = Model::default();
    model.commit(&[Op::AddTable(Family::Ip), Op::AddSet(Family::Ip, Set::Hairpin), Op::AddTable(Family::Ip6)]).unwrap();
    let mut table = NatTable::new(model);
    table.load(&with_web(&["10.244.1.2"])).unwrap();
    assert_eq!(table.ruleset(), &Model::of(&with_web(&["10.244.1.2"])).unwrap());
}

#[test]
fn after_a_failure_only_a_load_helps() {
    let mut table = NatTable::new(Recorder::default());
    table.load(&with_web(&["10.244.1.2"])).unwrap();
    table.ruleset.failing = true;
    let error = table.change(&with_web(&[])).unwrap_err();
    assert!(error.to_string().contains("short of memory"), "{error}");
    table.ruleset.failing = false;
    assert!(matches!(table.change(&with_web(&[])), Err(NftError::NotLoaded)));
    table.load(&with_web(&[])).unwrap();
    assert_eq!(table.ruleset().model, Model::of(&with_web(&[])).unwrap());
}

#[test]
fn chains_for_a_number_of_endpoints_are_shared() {
    let mut nat = (*with_web(&["10.244.1.2", "10.244.1.3"])).clone();
    let (service, backend) = web(&["10.244.2.2", "10.244.2.3"]);
    nat.services.insert(ServiceAddress { port: 81, ..service }, backend.clone());
    nat.node_ports.insert((Protocol::Tcp, 30080), backend);
    let model = Model::of(&Arc::new(nat)).unwrap();
    let chains: Vec<Chain> = model.tables[&Family::Ip].chains.keys().copied().collect();
    let balancers: Vec<Chain> = chains.into_iter().filter(|chain| matches!(chain, Chain::Balancer(_))).collect();
    assert_eq!(
        balancers,
        [Target::ClusterIp, Target::NodePort].map(|to| Chain::Balancer(Balancer { to, count: 2, affinity: None }))
    );
}
