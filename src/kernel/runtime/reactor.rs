//! Waiting for many descriptors at once, each with what it stands for.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// A descriptor that is being waited for. Give it back with [`Reactor::forget`]; one that is merely dropped leaves an
/// entry behind that never fires.
pub struct Watched {
    fd: OwnedFd,
    token: u64,
    /// `None`: not even its end is waited for.
    interest: Option<EpollFlags>,
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub struct Reactor<S> {
    epoll: Epoll,
    sources: HashMap<u64, S>,
    next_token: u64,
    events: Vec<EpollEvent>,
}

impl<S: Copy> Reactor<S> {
    pub fn new() -> nix::Result<Self> {
        Ok(Reactor {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            sources: HashMap::new(),
            next_token: 0,
            events: vec![EpollEvent::empty(); 64],
        })
    }

    /// Waits for `interest`; with an empty one, for the other side to go away.
    pub fn watch(&mut self, fd: OwnedFd, interest: EpollFlags, source: S) -> nix::Result<Watched> {
        let token = self.next_token;
        self.next_token += 1;
        self.epoll.add(&fd, EpollEvent::new(interest, token))?;
        self.sources.insert(token, source);
        Ok(Watched { fd, token, interest: Some(interest) })
    }

    pub fn set_interest(&self, watched: &mut Watched, interest: EpollFlags) {
        if watched.interest == Some(interest) {
            return;
        }
        let mut event = EpollEvent::new(interest, watched.token);
        // Neither can fail for lack of a registration, since `interest` says which of them is right.
        let _ = match watched.interest {
            Some(_) => self.epoll.modify(&watched.fd, &mut event),
            None => self.epoll.add(&watched.fd, event),
        };
        watched.interest = Some(interest);
    }

    /// Waits for nothing until the next [`Reactor::set_interest`]. An empty interest would still report the other
    /// side's end, again and again.
    pub fn suspend(&self, watched: &mut Watched) {
        if watched.interest.take().is_some() {
            let _ = self.epoll.delete(&watched.fd);
        }
    }

    /// Stops watching and returns the descriptor, which closes when dropped.
    pub fn forget(&mut self, watched: Watched) -> OwnedFd {
        self.sources.remove(&watched.token);
        // Closing is not enough: another process may hold the same open file.
        let _ = self.epoll.delete(&watched.fd);
        watched.fd
    }

    /// Waits until something happens or `deadline` has passed. The tokens are looked up when their turn comes, since
    /// handling one may end another.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Vec<(u64, EpollFlags)> {
        let timeout = match deadline {
            None => EpollTimeout::NONE,
            // Rounded up, so as not to spin through the last millisecond.
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            }
        };
        let count = self.epoll.wait(&mut self.events, timeout).unwrap_or(0);
        self.events.iter().take(count).map(|event| (event.data(), event.events())).collect()
    }

    pub fn source(&self, token: u64) -> Option<S> {
        self.sources.get(&token).copied()
    }
}
