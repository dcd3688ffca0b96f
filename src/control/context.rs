//! What controllers know and leave behind besides the objects: the time, random names, when to run again, events.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::events::{EventType, Occurrence};
use super::rest::Rest;
use crate::object::{Object, time_text};

/// Kubernetes' alphabet for generated names: no vowels and nothing that looks like one, so that no word comes out.
pub(super) const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

pub struct Context {
    /// What the controllers take for now; set it before each run.
    pub now: Timestamp,
    /// When a controller wants to run again even if no object has changed; forgotten at the start of each run.
    pub wake_at: Option<Timestamp>,
    /// The certificate of the lab's authority as PEM, once it is made; `None` where there is none to come.
    pub root_ca: Option<Arc<OnceLock<String>>>,
    names: StdRng,
    /// How many Events were named.
    told: u64,
    pub(super) occurrences: Vec<Occurrence>,
    /// By name: the controllers that had nothing to do.
    pub(super) rests: HashMap<&'static str, Rest>,
    /// No Event is to be forgotten before.
    pub(super) events_kept_until: Option<Timestamp>,
}

impl Context {
    pub fn new(now: Timestamp) -> Self {
        Self::seeded(now, rand::random())
    }

    /// The same seed gives the same names.
    pub fn seeded(now: Timestamp, seed: u64) -> Self {
        Context {
            now,
            wake_at: None,
            root_ca: None,
            names: StdRng::seed_from_u64(seed),
            told: 0,
            occurrences: Vec::new(),
            rests: HashMap::new(),
            events_kept_until: None,
        }
    }

    /// Five random characters for the end of a name.
    pub fn suffix(&mut self) -> String {
        let mut character = || char::from(SAFE_ALPHABET[self.names.random_range(0..SAFE_ALPHABET.len())]);
        std::array::from_fn::<char, 5, _>(|_| character()).iter().collect()
    }

    /// Asks to run again at `at` or earlier.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    pub fn now_text(&self) -> String {
        time_text(self.now)
    }

    /// For the names of Events: the time, so that they are listed in the order in which they were told.
    pub(super) fn event_number(&mut self) -> u64 {
        self.told += 1;
        let nanoseconds = u64::try_from(self.now.as_nanosecond()).unwrap_or_default();
        nanoseconds.wrapping_add(self.told)
    }

    pub(super) fn normal(&mut self, component: &'static str, about: &Object, reason: &str, message: String) {
        self.occurrences.push(Occurrence::new(component, about, EventType::Normal, reason, message));
    }

    pub(super) fn warning(&mut self, component: &'static str, about: &Object, reason: &str, message: String) {
        self.occurrences.push(Occurrence::new(component, about, EventType::Warning, reason, message));
    }

    /// A warning about something that stays wrong: said once, and not again at each run.
    pub(super) fn standing_warning(&mut self, component: &'static str, about: &Object, reason: &str, message: String) {
        let occurrence = Occurrence::new(component, about, EventType::Warning, reason, message);
        self.occurrences.push(Occurrence { is_standing: true, ..occurrence });
    }
}
