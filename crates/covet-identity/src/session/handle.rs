//! The session of a request, as its handler has it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covet_http::axum::response::{IntoResponse, Response};
use covet_http::pipeline::before_response;
use covet_telemetry::request;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::data::{Change, SessionKey, Values};
use super::error::SessionError;
use super::record::{Contents, Written};
use super::sessions::{Live, Sessions, Visitor, timestamp};

/// How often a change is made again because others have been quicker. Each time one of them got through, so this many
/// requests can change one session at the same moment.
const ATTEMPTS: u32 = 64;

/// The session of the request at hand: who is logged in, and what is kept for them between requests.
///
/// | extractor | without a session | when the cache is away |
/// |---|---|---|
/// | `Session` | 401 | 503 |
/// | `Option<Session>` | `None` | `None`: the request goes on as nobody's |
/// | [`SessionOrNew`](super::SessionOrNew) | an empty one, stored when something is put in or somebody logs in | 503 |
///
/// Values are changed in memory and stored together when the response goes out, unless it is a 5xx; when that fails,
/// the answer is a 503 instead. Of two requests of one session at the same time none undoes what the other has done:
/// each stores only the keys that it has changed. For one key, [`set`](Self::set) says "it is now this", and the one
/// that comes last counts; [`update`](Self::update) says "do this to what is there", and all count. A session that ends
/// meanwhile stays ended.
///
/// [`log_in`](Self::log_in), [`regenerate`](Self::regenerate) and [`end`](Self::end) happen at once, before they
/// return.
///
/// ```
/// use covet_http::Error;
/// use covet_identity::session::{Session, SessionKey};
///
/// static VISITS: SessionKey<u32> = SessionKey::new("visits");
///
/// async fn visit(session: Session) -> Result<String, Error> {
///     session.update(&VISITS, |visits| *visits += 1)?;
///     Ok(format!("visit {}", session.get(&VISITS).unwrap_or_default()))
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Sessions,
    visitor: Visitor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None`: nothing is stored.
    live: Option<Live>,
    /// The values with the changes made; read when they are first asked for.
    values: Option<Values>,
    changes: Vec<Change>,
    cookie: CookieChange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CookieChange {
    #[default]
    None,
    Set,
    Remove,
}

impl Session {
    /// The session of a request: found, or nothing yet. Stores it when the response goes out.
    pub(super) fn attach(sessions: Sessions, visitor: Visitor, live: Option<Live>) -> Result<Self, SessionError> {
        if let Some(user) = live.as_ref().and_then(|live| live.about.user) {
            tell_who_asks(user);
        }
        let cookie = match &live {
            Some(live) if live.by_old_key => CookieChange::Set,
            _ => CookieChange::None,
        };
        let state = Mutex::new(State { live, cookie, ..State::default() });
        let session = Self { inner: Arc::new(Inner { sessions, visitor, state }) };
        let left = session.clone();
        before_response(move |response| left.finish(response))?;
        Ok(session)
    }

    /// Whether it is stored: false for a new one that nothing has been put in.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.state().live.is_some()
    }

    /// Its name, for lists and logs; not secret, and the same as long as it lasts. `None` as long as nothing is stored.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.state().live.as_ref().map(|live| live.token.place.id)
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<Uuid> {
        self.state().live.as_ref().and_then(|live| live.about.user)
    }

    /// The roles that had been given to its user when they logged in.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        self.state().live.as_ref().map(|live| live.about.roles.clone()).unwrap_or_default()
    }

    /// When it ends if it is not used. `None` as long as nothing is stored.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.state().live.as_ref().map(|live| timestamp(live.times.expires))
    }

    /// The value of a key, with what this request has changed. A value that is not of the key's type counts as absent,
    /// and the log has a warning.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &SessionKey<T>) -> Option<T> {
        self.state().values().get(key)
    }

    /// Gives a key this value, whatever it has now.
    ///
    /// # Errors
    /// [`SessionError::Encode`], [`SessionError::TooLarge`]. Nothing has changed then.
    pub fn set<T: Serialize>(&self, key: &SessionKey<T>, value: &T) -> Result<(), SessionError> {
        self.change(Change::set(key, value)?)
    }

    /// Does something to the value of a key, or to its type's default when it has none. When another request changes
    /// the session at the same time, it is done again, to the value that is there then: it must have no other effect.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn update<T>(
        &self,
        key: &SessionKey<T>,
        update: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<(), SessionError>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        self.change(Change::update(key, update))
    }

    /// Takes a key's value away.
    ///
    /// # Errors
    /// None now; as [`set`](Self::set).
    pub fn remove<T>(&self, key: &SessionKey<T>) -> Result<(), SessionError> {
        self.change(Change::remove(key))
    }

    /// Logs a user in, once they have proved who they are: a new session with another id, so that nobody can have known
    /// it before (session fixation). The session until now ends. What it held goes along, unless another user was
    /// logged in. Returns the new session's name.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]: nobody is logged in.
    pub async fn log_in(&self, user: Uuid) -> Result<Uuid, SessionError> {
        self.log_in_with_roles(user, Vec::new()).await
    }

    /// The same for a user who has been given these roles: see [`access`](crate::access).
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]: nobody is logged in.
    pub async fn log_in_with_roles(&self, user: Uuid, roles: Vec<String>) -> Result<Uuid, SessionError> {
        let sessions = &self.inner.sessions;
        let (before, json) = {
            let mut state = self.state();
            let until_now = state.live.as_ref().and_then(|live| live.about.user);
            let goes_along = until_now.is_none_or(|until_now| until_now == user);
            let json = match goes_along {
                true => state.values().write(sessions.inner().data_limit)?,
                false => Contents::EMPTY_JSON.to_owned(),
            };
            (state.live.as_ref().map(|live| live.token.place), json)
        };
        if let Some(place) = before {
            sessions.inner().store.end(place).await?;
        }
        let live = sessions.open(Some(user), roles, json, &self.inner.visitor).await?;
        let id = live.token.place.id;
        *self.state() = State { live: Some(live), cookie: CookieChange::Set, ..State::default() };
        tell_who_asks(user);
        Ok(id)
    }

    /// Gives the session another id: at every change of what its user may do. The id until now is dead when this
    /// returns; name and contents stay.
    ///
    /// # Errors
    /// [`SessionError::Ended`] when it has ended, or another request has done the same; [`SessionError::Unavailable`].
    pub async fn regenerate(&self) -> Result<(), SessionError> {
        let before = self.state().live.as_ref().map(|live| live.token).ok_or(SessionError::Missing)?;
        let after = before.renewed();
        let store = &self.inner.sessions.inner().store;
        if !store.renew(before.place, before.secret_hash(), after.secret_hash()).await? {
            return Err(SessionError::Ended);
        }
        let mut state = self.state();
        if let Some(live) = &mut state.live {
            live.token = after;
        }
        state.cookie = CookieChange::Set;
        Ok(())
    }

    /// Ends the session: logging out. Its cookie goes, and is worth nothing to whoever has a copy.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]: it has not ended, and the cookie stays, so that it can be tried again.
    pub async fn end(&self) -> Result<(), SessionError> {
        let place = self.state().live.as_ref().map(|live| live.token.place);
        if let Some(place) = place {
            self.inner.sessions.inner().store.end(place).await?;
        }
        *self.state() = State { cookie: CookieChange::Remove, ..State::default() };
        Ok(())
    }

    fn change(&self, change: Change) -> Result<(), SessionError> {
        let mut state = self.state();
        let mut values = state.values().clone();
        values.change(&change)?;
        values.write(self.inner.sessions.inner().data_limit)?;
        state.values = Some(values);
        state.changes.push(change);
        Ok(())
    }

    /// Stores what has been changed.
    async fn commit(&self) -> Result<(), SessionError> {
        let sessions = &self.inner.sessions;
        let limit = sessions.inner().data_limit;
        let (live, changes, mut values) = {
            let mut state = self.state();
            if state.changes.is_empty() {
                return Ok(());
            }
            (state.live.clone(), std::mem::take(&mut state.changes), state.values().clone())
        };
        let Some(live) = live else {
            let live = sessions.open(None, Vec::new(), values.write(limit)?, &self.inner.visitor).await?;
            let mut state = self.state();
            (state.live, state.cookie) = (Some(live), CookieChange::Set);
            return Ok(());
        };
        let mut before = live.contents;
        for _ in 0..ATTEMPTS {
            let json = values.write(limit)?;
            if json == before.json {
                return Ok(());
            }
            let after = Contents::new(json);
            match sessions.inner().store.write(live.token.place, before.version, &after).await? {
                Written::Done => return Ok(()),
                Written::Gone => return Err(SessionError::Ended),
                Written::Newer(newer) => before = newer,
            }
            values = Values::read(&before);
            for change in &changes {
                values.change(change)?;
            }
        }
        Err(SessionError::Busy { attempts: ATTEMPTS })
    }

    /// Stores what the handler has changed, and tells browser and caches.
    async fn finish(self, mut response: Response) -> Response {
        // What a handler has begun and not finished is not kept.
        if !response.status().is_server_error()
            && let Err(error) = self.commit().await
        {
            response = error.refuse().into_response();
        }
        let set_cookie = self.set_cookie();
        tell_caches(&mut response, set_cookie.is_some());
        if let Some(set_cookie) = set_cookie {
            response.headers_mut().append(header::SET_COOKIE, set_cookie);
        }
        response
    }

    fn set_cookie(&self) -> Option<HeaderValue> {
        let state = self.state();
        let shape = &self.inner.sessions.inner().cookie;
        match (state.cookie, &state.live) {
            (CookieChange::Set, Some(live)) => {
                let left = live.about.ends_at.as_millisecond().saturating_sub(self.inner.sessions.now());
                // Rounded up, so that the browser does not forget it before the service does.
                let seconds = u64::try_from(left).unwrap_or_default().div_ceil(1000);
                Some(shape.set(&live.token, Duration::from_secs(seconds)))
            }
            (CookieChange::Remove, _) => Some(shape.remove()),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn values(&mut self) -> &Values {
        let live = &self.live;
        let read = || live.as_ref().map(|live| Values::read(&live.contents)).unwrap_or_default();
        self.values.get_or_insert_with(read)
    }
}

/// An answer that was made with a session is nobody else's. One that gives out a cookie is kept by nobody at all.
fn tell_caches(response: &mut Response, sets_cookie: bool) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let headers: &mut HeaderMap = response.headers_mut();
    if sets_cookie {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return;
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
    headers.append(header::VARY, HeaderValue::from_static("cookie"));
}

fn tell_who_asks(user: Uuid) {
    let mut text = Uuid::encode_buffer();
    let user = user.hyphenated().encode_lower(&mut text);
    request::current(|scope| scope.set_user(user));
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let live = state.live.as_ref();
        f.debug_struct("Session")
            .field("id", &live.map(|live| live.token.place.id))
            .field("user", &live.and_then(|live| live.about.user))
            .finish_non_exhaustive()
    }
}
