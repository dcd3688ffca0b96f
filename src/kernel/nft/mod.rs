//! Service address translation in the kernel: the table `nslab` of a node's network namespace, spoken to over netlink.
//!
//! The rules are static and shared by all Services; what Services there are is in maps. `desired::Nat` says what is
//! wanted, [`rules`] has the rules, [`state`] turns a difference into [`op`]erations, and [`encode`] writes those for
//! the kernel. [`model`] is a kernel in memory that takes the same operations, and [`walk`] sends a packet through it.
//!
//! Shown by `nft list ruleset`, with the names of kube-proxy's chains and the Services' names as comments. The ruleset
//! is never listed by this code: what is loaded is known, or it is loaded anew.

mod encode;
pub mod expr;
pub mod model;
pub mod op;
pub mod rules;
mod state;
mod userdata;
pub mod value;
pub mod walk;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;

use op::Op;
use state::State;
use value::Family;

use crate::desired::Nat;
use crate::kernel::netlink::{self, Netlink, NetlinkError, Refusal};

#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot speak to nftables: {0}")]
    Netlink(#[from] NetlinkError),
    /// Nothing of the transaction took effect.
    #[error("the kernel refused the rules for Services ({what}): {refusal}{}", advice(&.refusal.errno))]
    Refused { what: String, refusal: Refusal },
    #[error("the rules for Services are not loaded, so they cannot be changed; load them first")]
    NotLoaded,
}

/// What to do about a refusal, where that is known.
fn advice(errno: &Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => "; run as root",
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
            "; the kernel may lack nftables or one of nft_nat, nft_masq, nft_numgen, nft_fib, nft_ct, nft_reject: \
             see `lab doctor`"
        }
        Errno::ENOMEM | Errno::EMSGSIZE | Errno::ENOBUFS => "; the machine is short of memory",
        _ => "",
    }
}

/// What holds a ruleset: the kernel, or a model of it.
pub trait Ruleset {
    /// Does all of `ops` in order, or none of them.
    fn commit(&mut self, ops: &[Op]) -> Result<(), NftError>;
}

impl Ruleset for Netlink {
    fn commit(&mut self, ops: &[Op]) -> Result<(), NftError> {
        let mut encoded = encode::transaction(ops);
        let refusals = self.transact(&mut encoded.batch)?;
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(refusal) => {
                let what = encoded.source(ops, refusal.index).map_or("the transaction".to_string(), Op::to_string);
                Err(NftError::Refused { what, refusal })
            }
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Elements of maps and sets.
    pub added: usize,
    pub deleted: usize,
    /// Chains for a number of endpoints that no Service had before.
    pub chains: usize,
    /// The rules themselves differ, so that all was loaded anew.
    pub reloaded: bool,
}

/// The table `nslab` of one network namespace, and what it is known to hold.
#[derive(Debug)]
pub struct NatTable<R = Netlink> {
    ruleset: R,
    /// `None`: not known, before the first load and after a failure.
    state: Option<State>,
}

impl NatTable<Netlink> {
    /// For the network namespace behind `netns`. Nothing is loaded yet.
    pub fn open(netns: BorrowedFd) -> Result<Self, NftError> {
        Ok(NatTable::new(Netlink::open_in(netns, netlink::Family::Netfilter)?))
    }

    /// The socket, which connection tracking shares ([`crate::kernel::conntrack`]).
    pub fn socket(&mut self) -> &mut Netlink {
        &mut self.ruleset
    }
}

impl<R: Ruleset> NatTable<R> {
    pub fn new(ruleset: R) -> Self {
        NatTable { ruleset, state: None }
    }

    pub fn ruleset(&self) -> &R {
        &self.ruleset
    }

    /// Replaces the tables, whatever they hold, by what `nat` says, in one transaction: no packet meets half of it. On
    /// an error the old rules stand. Only an IPv6 table that is not wanted any more is deleted before and apart, since
    /// a kernel without IPv6 refuses to hear of it.
    pub fn load(&mut self, nat: &Arc<Nat>) -> Result<(), NftError> {
        let had_six = self.state.take().is_none_or(|state| state.families().contains(&Family::Ip6));
        if had_six && !rules::families(nat).contains(&Family::Ip6) {
            self.delete_six()?;
        }
        let (ops, state) = State::load(nat);
        self.ruleset.commit(&ops)?;
        self.state = Some(state);
        Ok(())
    }

    /// Changes what differs from what is loaded, in one transaction. After an error, [`NatTable::load`] is what is
    /// left to do.
    pub fn change(&mut self, nat: &Arc<Nat>) -> Result<Changed, NftError> {
        let mut state = self.state.take().ok_or(NftError::NotLoaded)?;
        let Some(ops) = state.change(nat) else {
            // Rules that the two have in common in IPv6 must be known to be there.
            self.state = Some(state);
            self.load(nat)?;
            return Ok(Changed { reloaded: true, ..Changed::default() });
        };
        if !ops.is_empty() {
            self.ruleset.commit(&ops)?;
        }
        self.state = Some(state);
        let mut changed = Changed::default();
        for op in &ops {
            match op {
                Op::AddElements(_, _, elements) => changed.added += elements.len(),
                Op::DeleteElements(_, _, keys) => changed.deleted += keys.len(),
                Op::AddChain(..) => changed.chains += 1,
                _ => {}
            }
        }
        Ok(changed)
    }

    /// Deletes the IPv6 table. A kernel without IPv6 has none.
    fn delete_six(&mut self) -> Result<(), NftError> {
        match self.ruleset.commit(&[Op::AddTable(Family::Ip6), Op::DeleteTable(Family::Ip6)]) {
            Err(NftError::Refused { refusal, .. })
                if matches!(refusal.errno, Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
