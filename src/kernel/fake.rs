//! A kernel that only remembers: for tests of everything above it. It refuses what the real one would refuse, and can be
//! told to fail at a step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Kernel, KernelError};
use crate::desired::{Container, Desired, Pod};
use crate::diff::Action;

#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    has: Desired,
    actions: Vec<String>,
    containers: Vec<String>,
    /// Steps that may still succeed.
    budget: Option<usize>,
}

impl Fake {
    pub fn new() -> Self {
        Self::default()
    }

    /// After `steps` more steps every further one fails, until [`Fake::mend`].
    pub fn fail_after(&self, steps: usize) {
        self.lock().budget = Some(steps);
    }

    pub fn mend(&self) {
        self.lock().budget = None;
    }

    /// What it has been made to have.
    pub fn has(&self) -> Desired {
        self.lock().has.clone()
    }

    /// What was done, in order, and forgotten here.
    pub fn take_actions(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().actions)
    }

    /// `POD/CONTAINER#ATTEMPT` of each container that was started, in order.
    pub fn containers(&self) -> Vec<String> {
        self.lock().containers.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn spend(&mut self, what: &str) -> Result<(), KernelError> {
        match &mut self.budget {
            Some(0) => Err(KernelError(format!("{what}: told to fail"))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What the real kernel would answer to a step that comes too early.
    fn missing(&self, action: &Action) -> Option<String> {
        let no_netns = |name: &String| (!name.is_empty() && !self.has.netns.contains_key(name)).then(|| name.clone());
        match action {
            Action::AddVeth { veth, .. } => no_netns(&veth.inner.netns).or_else(|| no_netns(&veth.outer.netns)),
            Action::LoadNat { netns, .. } | Action::OpenApi { netns, .. } => no_netns(netns),
            Action::ChangeNat { netns, from, .. } => {
                (self.has.nat.get(netns) != Some(from)).then(|| format!("the table that {netns} is said to have"))
            }
            Action::StartRuntime { runtime, .. } => no_netns(&runtime.netns),
            Action::StartPod { pod, .. } => no_netns(&pod.netns)
                .or_else(|| (!self.has.runtimes.contains_key(&pod.node)).then(|| format!("node {}", pod.node))),
            _ => None,
        }
    }
}

impl Kernel for Fake {
    fn apply(&self, action: &Action) -> Result<(), KernelError> {
        let mut state = self.lock();
        state.spend(&action.to_string())?;
        if let Some(missing) = state.missing(action) {
            return Err(KernelError(format!("{action}: {missing} is not there")));
        }
        action.record(&mut state.has);
        state.actions.push(action.to_string());
        Ok(())
    }

    fn start_container(&self, pod: &Pod, container: &Container, attempt: u32) -> Result<(), KernelError> {
        let mut state = self.lock();
        let name = format!("{}/{}/{}#{attempt}", pod.namespace, pod.name, container.name);
        state.spend(&name)?;
        state.containers.push(name);
        Ok(())
    }

    fn remove_logs(&self, namespace: &str, pod: &str, _: &str) -> Result<(), KernelError> {
        self.lock().actions.push(format!("remove logs of {namespace}/{pod}"));
        Ok(())
    }
}
