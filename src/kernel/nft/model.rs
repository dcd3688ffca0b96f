//! A kernel in memory: it takes the same operations as the real one, refuses what that refuses, and holds what that
//! would hold. Tests compare what it holds, and `walk.rs` sends packets through it.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::expr::{Expr, Into, Verdict};
use super::op::{Chain, Data, DataSpec, Entry, Op, Rule, Set};
use super::value::{Family, Value};
use super::{NftError, Ruleset};
use crate::desired::Nat;
use crate::kernel::netlink::Refusal;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub tables: BTreeMap<Family, Table>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub chains: BTreeMap<Chain, ChainModel>,
    pub sets: BTreeMap<Set, BTreeMap<Value, Stored>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainModel {
    pub entry: Option<Entry>,
    pub rules: Vec<Rule>,
}

/// What a set has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub data: Data,
    pub comment: String,
}

impl Model {
    /// What a node that was just loaded with `nat` holds.
    pub fn of(nat: &std::sync::Arc<Nat>) -> Result<Model, NftError> {
        let mut model = Model::default();
        let (ops, _) = super::state::State::load(nat);
        model.commit(&ops)?;
        Ok(model)
    }

    fn apply(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::AddTable(family) => drop(self.tables.entry(*family).or_default()),
            Op::DeleteTable(family) => drop(self.tables.remove(family).ok_or(Errno::ENOENT)?),
            Op::AddChain(family, spec) => {
                let chain = ChainModel { entry: spec.entry, rules: Vec::new() };
                self.table(*family)?.chains.entry(spec.name).or_insert(chain);
            }
            Op::AddRule(family, rule) => {
                let table = self.table(*family)?;
                rule.exprs.iter().try_for_each(|expr| table.names_only_what_is_there(expr))?;
                table.chains.get_mut(&rule.chain).ok_or(Errno::ENOENT)?.rules.push(rule.clone());
            }
            Op::AddSet(family, set) => drop(self.table(*family)?.sets.entry(*set).or_default()),
            Op::AddElements(family, set, elements) => {
                let table = self.table(*family)?;
                for element in elements {
                    let fits = match (set.data(), element.data) {
                        (DataSpec::None, Data::None) | (DataSpec::Fields(_), Data::Value(_)) => true,
                        (DataSpec::Verdict, Data::Verdict(verdict)) => {
                            table.has_target(verdict)?;
                            true
                        }
                        _ => false,
                    };
                    if !fits {
                        return Err(Errno::EINVAL);
                    }
                    let stored = Stored { data: element.data, comment: element.comment.to_string() };
                    let elements = table.sets.get_mut(set).ok_or(Errno::ENOENT)?;
                    if elements.insert(element.key, stored).is_some() {
                        return Err(Errno::EEXIST);
                    }
                }
            }
            Op::DeleteElements(family, set, keys) => {
                let elements = self.table(*family)?.sets.get_mut(set).ok_or(Errno::ENOENT)?;
                for key in keys {
                    elements.remove(key).ok_or(Errno::ENOENT)?;
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, family: Family) -> Result<&mut Table, Errno> {
        self.tables.get_mut(&family).ok_or(Errno::ENOENT)
    }
}

impl Table {
    fn names_only_what_is_there(&self, expr: &Expr) -> Result<(), Errno> {
        match expr {
            Expr::Verdict(verdict) => self.has_target(*verdict),
            Expr::Remember { map, .. } | Expr::Forget { map, .. } => {
                let is_there = self.sets.contains_key(map);
                if is_there && map.is_dynamic() { Ok(()) } else { Err(Errno::ENOENT) }
            }
            Expr::Lookup { set, to, .. } => {
                if !self.sets.contains_key(set) {
                    return Err(Errno::ENOENT);
                }
                let fits = match set.data() {
                    DataSpec::None => *to == Into::Nothing,
                    DataSpec::Verdict => *to == Into::Verdict,
                    DataSpec::Fields(_) => matches!(to, Into::Register(_)),
                };
                if fits { Ok(()) } else { Err(Errno::EINVAL) }
            }
            _ => Ok(()),
        }
    }

    fn has_target(&self, verdict: Verdict) -> Result<(), Errno> {
        match verdict {
            Verdict::Jump(chain) | Verdict::Goto(chain) if !self.chains.contains_key(&chain) => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }
}

impl Ruleset for Model {
    fn commit(&mut self, ops: &[Op]) -> Result<(), NftError> {
        let mut next = self.clone();
        for (index, op) in ops.iter().enumerate() {
            let refused =
                |errno| NftError::Refused { what: op.to_string(), refusal: Refusal { index, errno, text: None } };
            next.apply(op).map_err(refused)?;
        }
        *self = next;
        Ok(())
    }
}
