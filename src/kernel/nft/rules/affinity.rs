//! Session affinity: a client goes to the endpoint that it had, for as long as that is one of the Service's and the
//! client's last connection is not too long ago.
//!
//! `affinity` has the endpoint by the Service's ClusterIP, protocol and port and the client's address; the packet path
//! fills it. All addresses of a Service lead to the same key by the maps `affinity-services` and `affinity-nodeports`.
//!
//! `nft` has no words for a map's value as a part of another key: `nft list map` shows all of this, but `nft list ruleset`
//! of nftables 1.0.6 ends itself when it comes to these rules. They are made with the first Service that wants them.
//!
//! What it says is believed only when the endpoint stands in a set of those that this front has now, for nothing takes
//! an entry out when its endpoint goes.

use super::super::expr::{Expr, Into, Reg, source};
use super::super::op::Set;
use super::super::value::Family;
use super::{R0, front, pick};

/// A chain that translates to one of `count` endpoints in `map`.
pub struct Affinity {
    pub family: Family,
    pub map: Set,
    pub count: u32,
    pub seconds: u32,
}

/// The map from what clients connect to, to what they are remembered by; and the set of endpoints to come back to.
pub fn sets(map: Set) -> (Set, Set) {
    match map {
        Set::LocalEndpoints => (Set::AffinityServices, Set::AffinityLocalEndpoints),
        Set::NodePortEndpoints => (Set::AffinityNodePorts, Set::AffinityNodePortEndpoints),
        Set::LocalNodePortEndpoints => (Set::AffinityNodePorts, Set::AffinityLocalNodePortEndpoints),
        _ => (Set::AffinityServices, Set::AffinityServiceEndpoints),
    }
}

/// The registers hold, in this order: ClusterIP, protocol, port, the client's address; and an endpoint behind them.
impl Affinity {
    fn address(&self) -> u8 {
        self.family.address_len() as u8 / 4
    }

    fn client(&self) -> Reg {
        Reg(self.address() + 2)
    }

    fn endpoint(&self) -> Reg {
        Reg(2 * self.address() + 2)
    }

    fn dnat(&self) -> Expr {
        let Reg(endpoint) = self.endpoint();
        Expr::Dnat { address: Reg(endpoint), port: Reg(endpoint + self.address()) }
    }

    fn remember(&self) -> Expr {
        Expr::Remember { map: Set::Affinity, key: R0, data: self.endpoint(), seconds: self.seconds }
    }

    /// The key that the client is remembered by.
    fn key(&self) -> Vec<Expr> {
        let (mut exprs, _) = front(self.family, self.map, R0);
        exprs.push(Expr::Lookup { set: sets(self.map).0, key: R0, to: Into::Register(R0) });
        exprs.push(source(self.family, self.client()));
        exprs
    }

    pub fn come_back(&self) -> Vec<Expr> {
        let mut exprs = self.key();
        // What the client connects to takes the place of the ClusterIP, and the endpoint that of the client.
        exprs.push(Expr::Lookup { set: Set::Affinity, key: R0, to: Into::Register(self.client()) });
        let (_, Reg(length)) = front(self.family, self.map, R0);
        let Reg(end) = self.client();
        let start = Reg(end.saturating_sub(length));
        exprs.extend(front(self.family, self.map, start).0);
        exprs.push(Expr::Lookup { set: sets(self.map).1, key: start, to: Into::Nothing });
        // It is one of these: the time begins anew.
        exprs.extend(self.key());
        exprs.push(Expr::Lookup { set: Set::Affinity, key: R0, to: Into::Register(self.endpoint()) });
        exprs.extend([self.remember(), self.dnat()]);
        exprs
    }

    pub fn choose(&self) -> Vec<Expr> {
        let mut exprs = pick(self.family, self.map, self.count, self.endpoint());
        exprs.extend(self.key());
        // An entry that is there keeps its endpoint: it has to go first.
        exprs.push(Expr::Forget { map: Set::Affinity, key: R0, data: self.endpoint() });
        exprs.extend([self.remember(), self.dnat()]);
        exprs
    }
}
