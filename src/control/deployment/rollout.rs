//! The arithmetic of a rollout: which ReplicaSet is scaled to what.

use std::cmp::Reverse;

use super::Rollout;
use crate::control::Context;

impl Rollout<'_> {
    /// The room for more pods goes to the new ReplicaSet; if it took none, the old ones give what can be spared.
    pub(super) fn roll(&mut self, ctx: &mut Context) {
        let Some(new) = self.new else { return };
        if !self.grow_new(new, ctx) {
            self.shrink_old(new, ctx);
        }
    }

    pub(super) fn total_replicas(&self) -> i64 {
        self.sets.iter().map(|set| set.replicas()).sum()
    }

    /// What the new ReplicaSet may have at once, given what the others still have.
    pub(super) fn replicas_for_new(&self, now: i64) -> i64 {
        let wanted = self.strategy.replicas;
        if self.strategy.is_recreate || now >= wanted {
            return wanted;
        }
        let room = wanted + self.strategy.max_surge - self.total_replicas();
        now + room.clamp(0, wanted - now)
    }

    fn grow_new(&mut self, new: usize, ctx: &mut Context) -> bool {
        let Some(set) = self.sets.get(new) else { return false };
        let size = self.replicas_for_new(set.replicas());
        self.scale(new, size, ctx)
    }

    fn shrink_old(&mut self, new: usize, ctx: &mut Context) {
        let Some(new_set) = self.sets.get(new) else { return };
        let least = self.strategy.replicas - self.strategy.max_unavailable;
        let new_unavailable = new_set.replicas() - new_set.available();
        let mut spare = self.total_replicas() - least - new_unavailable;
        if spare <= 0 {
            return;
        }
        let old = self.old_by_age();
        // Pods that serve nobody go first: they cost nothing and may stand in the way of everything else.
        for &at in &old {
            let Some(set) = self.sets.get(at) else { continue };
            let count = (set.replicas() - set.available()).clamp(0, spare);
            let size = set.replicas() - count;
            spare -= count;
            if count > 0 {
                self.scale(at, size, ctx);
            }
        }
        let available: i64 = self.sets.iter().map(|set| set.available()).sum();
        let mut spare = available - least;
        for at in old {
            let Some(set) = self.sets.get(at) else { continue };
            let count = set.replicas().min(spare).max(0);
            let size = set.replicas() - count;
            spare -= count;
            if count > 0 {
                self.scale(at, size, ctx);
            }
        }
    }

    /// Everything old ends before anything new begins.
    pub(super) fn recreate(&mut self, ctx: &mut Context, has_old_pods: impl FnOnce(&Self) -> bool) {
        let mut scaled = false;
        for at in self.old_by_age() {
            scaled |= self.scale(at, 0, ctx);
        }
        if scaled || has_old_pods(self) {
            return;
        }
        self.create_new(ctx);
        if let Some(new) = self.new {
            self.scale(new, self.strategy.replicas, ctx);
        }
    }

    /// The number of replicas was changed, perhaps in the middle of a rollout: spreads the difference over the
    /// ReplicaSets in proportion to their sizes.
    pub(super) fn rescale(&mut self, ctx: &mut Context) {
        let active: Vec<usize> =
            (0..self.sets.len()).filter(|at| self.sets.get(*at).is_some_and(|set| set.replicas() > 0)).collect();
        if active.len() <= 1 {
            let latest = || self.old_by_age().pop();
            if let Some(only) = active.first().copied().or(self.new).or_else(latest) {
                self.scale(only, self.strategy.replicas, ctx);
            }
            return;
        }
        if self.strategy.is_recreate || self.new_set().is_some_and(|new| self.is_saturated(new)) {
            for at in self.old_by_age() {
                self.scale(at, 0, ctx);
            }
        } else {
            self.spread(active, ctx);
        }
    }

    fn is_saturated(&self, new: &super::Set) -> bool {
        let wanted = self.strategy.replicas;
        new.replicas() == wanted && new.desired_replicas() == Some(wanted) && new.status("availableReplicas") == wanted
    }

    fn spread(&mut self, mut active: Vec<usize>, ctx: &mut Context) {
        let wanted = self.strategy.replicas;
        let allowed = if wanted > 0 { wanted + self.strategy.max_surge } else { 0 };
        let to_add = allowed - self.total_replicas();
        let size = |at: usize| self.sets.get(at).map_or(0, |set| set.replicas());
        let age = |at: usize| self.sets.get(at).map(|set| set.object.creation_timestamp().to_string());
        // The largest first; of the same size, the newer gains first and the older loses first.
        if to_add > 0 {
            active.sort_by_key(|at| (Reverse(size(*at)), Reverse(age(*at))));
        } else {
            active.sort_by_key(|at| (Reverse(size(*at)), age(*at)));
        }
        let mut sizes = Vec::with_capacity(active.len());
        let mut added = 0;
        for &at in &active {
            let left = to_add - added;
            let share = self.share(at);
            let share = if to_add > 0 { share.clamp(0, left) } else { share.clamp(left, 0) };
            sizes.push(size(at) + share);
            added += share;
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.scale(at, size, ctx);
        }
    }

    /// What a ReplicaSet would gain or lose to keep its part of the whole.
    fn share(&self, at: usize) -> i64 {
        let Some(set) = self.sets.get(at) else { return 0 };
        if self.strategy.replicas == 0 {
            return -set.replicas();
        }
        let whole = self.strategy.replicas + self.strategy.max_surge;
        let before = set.max_replicas().filter(|n| *n > 0);
        let before = before.or_else(|| self.deployment.i64_at(&["status", "replicas"])).unwrap_or(0).max(1);
        // Rounded to the nearest.
        (set.replicas() * whole * 2 + before) / (before * 2) - set.replicas()
    }
}
