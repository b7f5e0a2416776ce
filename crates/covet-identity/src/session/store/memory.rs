//! Sessions in this process: for one instance, and gone with it.
//!
//! Everything is under one lock, held for a look into a map; nothing waits under it. What has ended goes when the next
//! session is opened or the number is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::Listed;
use crate::session::record::{Contents, Stored, Times, Written};
use crate::session::token::{Owner, Place, SecretHash};

/// Sessions kept at most. Beyond it one ends for each that begins: first of those without a user, then the one least
/// recently used. Whoever needs more has several instances, and Redis.
const MOST: usize = 100_000;

#[derive(Debug)]
pub(in crate::session) struct MemoryStore {
    sessions: Mutex<Sessions>,
    most: usize,
}

#[derive(Debug, Default)]
struct Sessions {
    by_owner: HashMap<Owner, BTreeMap<Uuid, Stored>>,
    /// Those without a user and those with one, each by when they end.
    anonymous: BTreeSet<(i64, Place)>,
    users: BTreeSet<(i64, Place)>,
}

impl MemoryStore {
    pub(in crate::session) fn new() -> Self {
        Self { sessions: Mutex::default(), most: MOST }
    }

    pub(super) fn load(&self, place: Place, now: i64) -> Option<Stored> {
        self.lock().find(place).filter(|stored| !stored.times.are_over(now)).cloned()
    }

    pub(super) fn open(&self, place: Place, session: Stored, now: i64, most: usize) {
        let mut sessions = self.lock();
        sessions.drop_ended(now);
        while sessions.len() >= self.most {
            let Some((_, victim)) = sessions.anonymous.first().or(sessions.users.first()).copied() else { break };
            sessions.remove(victim);
        }
        while sessions.by_owner.get(&place.owner).is_some_and(|owned| owned.len() >= most) {
            let owned = sessions.by_owner.get(&place.owner).into_iter().flatten();
            let Some((id, _)) = owned.min_by_key(|(_, stored)| stored.times.used) else { break };
            let victim = Place { owner: place.owner, id: *id };
            sessions.remove(victim);
        }
        let expires = session.times.expires;
        sessions.queue(session.about.user.is_some()).insert((expires, place));
        sessions.by_owner.entry(place.owner).or_default().insert(place.id, session);
    }

    pub(super) fn touch(&self, place: Place, times: Times) -> bool {
        let mut sessions = self.lock();
        let Some(stored) = sessions.find_mut(place) else { return false };
        let before = std::mem::replace(&mut stored.times, times);
        let is_users = stored.about.user.is_some();
        let queue = sessions.queue(is_users);
        queue.remove(&(before.expires, place));
        queue.insert((times.expires, place));
        true
    }

    pub(super) fn write(&self, place: Place, before: u64, contents: &Contents) -> Written {
        let mut sessions = self.lock();
        let Some(stored) = sessions.find_mut(place) else { return Written::Gone };
        if stored.contents.version != before {
            return Written::Newer(stored.contents.clone());
        }
        stored.contents = contents.clone();
        Written::Done
    }

    pub(super) fn renew(&self, place: Place, before: SecretHash, after: SecretHash) -> bool {
        let mut sessions = self.lock();
        let Some(stored) = sessions.find_mut(place) else { return false };
        if stored.secret != before {
            return false;
        }
        stored.secret = after;
        true
    }

    pub(super) fn end(&self, place: Place) -> bool {
        self.lock().remove(place)
    }

    pub(super) fn end_all(&self, owner: Owner, but: Option<Uuid>, now: i64) -> u64 {
        let mut sessions = self.lock();
        sessions.drop_ended(now);
        let ids: Vec<Uuid> = sessions.by_owner.get(&owner).into_iter().flat_map(BTreeMap::keys).copied().collect();
        let others = ids.into_iter().filter(|id| Some(*id) != but);
        others.map(|id| u64::from(sessions.remove(Place { owner, id }))).sum()
    }

    pub(super) fn list(&self, owner: Owner, now: i64) -> Vec<Listed> {
        let sessions = self.lock();
        let owned = sessions.by_owner.get(&owner).into_iter().flatten();
        let open = owned.filter(|(_, stored)| !stored.times.are_over(now));
        open.map(|(id, stored)| Listed { id: *id, about: stored.about.clone(), times: stored.times }).collect()
    }

    pub(in crate::session) fn count(&self, now: i64) -> u64 {
        let mut sessions = self.lock();
        sessions.drop_ended(now);
        sessions.users.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn len(&self) -> usize {
        self.anonymous.len() + self.users.len()
    }

    fn find(&self, place: Place) -> Option<&Stored> {
        self.by_owner.get(&place.owner)?.get(&place.id)
    }

    fn find_mut(&mut self, place: Place) -> Option<&mut Stored> {
        self.by_owner.get_mut(&place.owner)?.get_mut(&place.id)
    }

    fn queue(&mut self, is_users: bool) -> &mut BTreeSet<(i64, Place)> {
        if is_users { &mut self.users } else { &mut self.anonymous }
    }

    fn remove(&mut self, place: Place) -> bool {
        let Some(owned) = self.by_owner.get_mut(&place.owner) else { return false };
        let Some(removed) = owned.remove(&place.id) else { return false };
        if owned.is_empty() {
            self.by_owner.remove(&place.owner);
        }
        self.queue(removed.about.user.is_some()).remove(&(removed.times.expires, place));
        true
    }

    fn drop_ended(&mut self, now: i64) {
        for is_users in [false, true] {
            while let Some((expires, place)) = self.queue(is_users).first().copied() {
                if expires > now {
                    break;
                }
                self.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, place, session};
    use super::*;

    #[test]
    fn a_full_store_gives_up_the_sessions_without_a_user_first() {
        let store = MemoryStore { sessions: Mutex::default(), most: 3 };
        let (user, stranger, other) = (place(1, 1), place(2, 2), place(3, 3));
        store.open(user, session(Some(1), NOW + 10), NOW, 10);
        store.open(stranger, session(None, NOW + 99), NOW, 10);
        store.open(other, session(Some(3), NOW + 20), NOW, 10);
        store.open(place(4, 4), session(Some(4), NOW + 30), NOW, 10);
        assert!(store.load(stranger, NOW).is_none());
        store.open(place(5, 5), session(Some(5), NOW + 30), NOW, 10);
        assert!(store.load(user, NOW).is_none() && store.load(other, NOW).is_some());
        assert_eq!(store.count(NOW), 3);
    }

    #[test]
    fn nothing_is_left_of_sessions_that_have_ended() {
        let store = MemoryStore::new();
        for id in 0..10 {
            store.open(place(1, id), session(Some(1), NOW + i64::try_from(id).unwrap()), NOW - 1, 100);
            store.open(place(100 + id, id), session(None, NOW), NOW - 1, 100);
        }
        assert_eq!(store.count(NOW + 100), 0);
        let sessions = store.lock();
        assert!(sessions.by_owner.is_empty() && sessions.len() == 0);
    }
}
