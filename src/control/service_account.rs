//! The ServiceAccount `default` that every namespace has.

use super::Context;
use super::bootstrap::default_service_account;
use crate::object::{Snapshot, Write, kind};

pub fn service_account(snapshot: &Snapshot, _: &mut Context) -> Vec<Write> {
    let namespaces = snapshot.list(&kind::NAMESPACE).filter(|namespace| !namespace.is_terminating());
    let lacks = |name: &&str| snapshot.find(&kind::SERVICE_ACCOUNT, name, "default").is_none();
    namespaces.map(|namespace| namespace.name()).filter(lacks).map(default_service_account).map(Write::Create).collect()
}
