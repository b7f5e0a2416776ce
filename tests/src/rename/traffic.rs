//! Constant traffic on `rename-service`: people are added, renamed and read, each time by another instance, and every
//! answer is held against what was acknowledged before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_testkit::{Service, http_client, wait_until};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Requests a second, if the machine carries them.
pub const RATE: u32 = 1_000;
/// Requests under way at most.
const WORKERS: u32 = 32;
/// How long a request may take, and an instance to answer some.
const DEADLINE: Duration = Duration::from_secs(60);

/// Running traffic.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<BTreeMap<String, String>>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Requests sent.
    pub sent: u64,
    /// What was wrong with answers, or why there were none.
    pub failures: Vec<String>,
    /// Everybody who was added, by id, and the last name that was acknowledged.
    pub people: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    instances: Mutex<Vec<Arc<Instance>>>,
    seeds: u64,
    over: AtomicBool,
    sent: AtomicU64,
    failures: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Instance {
    base: String,
    in_flight: AtomicU64,
    answered: AtomicU64,
}

/// The id of a person who was there before.
#[must_use]
pub fn seed_id(number: u64) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}

/// Their name, which nobody changes.
#[must_use]
pub fn seed_name(number: u64) -> String {
    format!("Seed {number}")
}

impl Traffic {
    /// Begins, with these instances and as many people there already.
    ///
    /// # Errors
    ///
    /// When there is no HTTP client to be had.
    pub fn start(instances: &[&Service], seeds: u64) -> Result<Self> {
        let client = http_client().timeout(DEADLINE).build()?;
        let instances = instances.iter().map(|service| Instance::of(service)).collect();
        let shared = Arc::new(Shared {
            client,
            instances: Mutex::new(instances),
            seeds,
            over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let workers = (0..WORKERS).map(|number| tokio::spawn(work(Arc::clone(&shared), number))).collect();
        Ok(Self { shared, workers })
    }

    /// An instance gets its share from now on.
    pub fn add(&self, service: &Service) {
        lock(&self.shared.instances).push(Instance::of(service));
    }

    /// An instance gets no more requests. Returns when it has answered those it has.
    ///
    /// # Errors
    ///
    /// When it does not answer them.
    pub async fn remove(&self, service: &Service) -> Result<()> {
        let base = service.url("");
        let removed: Vec<_> = lock(&self.shared.instances).extract_if(.., |instance| instance.base == base).collect();
        for instance in removed {
            wait_until("the instance to have answered", DEADLINE, async || {
                match instance.in_flight.load(Ordering::SeqCst) {
                    0 => Ok(()),
                    requests => Err(format!("{requests} requests are under way")),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until every present instance has answered as many requests more.
    ///
    /// # Errors
    ///
    /// When that takes too long, or a request has failed by then.
    pub async fn flows(&self, requests: u64) -> Result<()> {
        let instances = lock(&self.shared.instances).clone();
        let wanted: Vec<_> = instances.iter().map(|it| it.answered.load(Ordering::SeqCst) + requests).collect();
        wait_until("traffic to flow through every instance", DEADLINE, async || {
            let answered: Vec<_> = instances.iter().map(|it| it.answered.load(Ordering::SeqCst)).collect();
            match answered.iter().zip(&wanted).all(|(answered, wanted)| answered >= wanted) {
                true => Ok(()),
                false => Err(format!("{answered:?} of {wanted:?}")),
            }
        })
        .await?;
        let failures = lock(&self.shared.failures);
        ensure!(failures.is_empty(), "{} requests failed, the first: {:?}", failures.len(), failures.first());
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// When a worker panicked.
    pub async fn finish(self) -> Result<Outcome> {
        self.shared.over.store(true, Ordering::SeqCst);
        let mut people = BTreeMap::new();
        for worker in self.workers {
            people.extend(worker.await?);
        }
        let failures = std::mem::take(&mut *lock(&self.shared.failures));
        Ok(Outcome { sent: self.shared.sent.load(Ordering::SeqCst), failures, people })
    }
}

impl Instance {
    fn of(service: &Service) -> Arc<Self> {
        Arc::new(Self { base: service.url(""), in_flight: AtomicU64::new(0), answered: AtomicU64::new(0) })
    }
}

impl Shared {
    /// Sends a request to one of the instances.
    async fn send(&self, turn: usize, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let instance = {
            let instances = lock(&self.instances);
            let instance = Arc::clone(instances.get(turn % instances.len().max(1)).context("there is no instance")?);
            // Under the lock: who removes it waits for this request.
            instance.in_flight.fetch_add(1, Ordering::SeqCst);
            instance
        };
        let mut request = self.client.request(method, format!("{}{path}", instance.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.sent.fetch_add(1, Ordering::SeqCst);
        let answer = async {
            let response = request.send().await?;
            let (status, text) = (response.status(), response.text().await?);
            ensure!(status.is_success(), "{path} at {}: {status} {text}", instance.base);
            Ok(serde_json::from_str(&text)?)
        };
        let answer = answer.await;
        instance.in_flight.fetch_sub(1, Ordering::SeqCst);
        instance.answered.fetch_add(1, Ordering::SeqCst);
        answer
    }
}

/// Works until it is over. Returns the people it has added, whom nobody else renames.
async fn work(shared: Arc<Shared>, worker: u32) -> BTreeMap<String, String> {
    let mut people: Vec<(String, String)> = Vec::new();
    let mut ticks = interval(Duration::from_secs(1) * WORKERS / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut random = Random(u64::from(worker));
    for number in 0_u64.. {
        ticks.tick().await;
        if shared.over.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{worker} né {number}");
        let outcome = match random.below(8) {
            0..=3 if !people.is_empty() => {
                let (id, known) = &people[random.below(people.len())];
                expect(&shared, &mut random, id, known).await
            }
            4 => {
                let seed = random.below(shared.seeds as usize) as u64 + 1;
                expect(&shared, &mut random, &seed_id(seed), &seed_name(seed)).await
            }
            5 | 6 if !people.is_empty() => {
                let chosen = random.below(people.len());
                let path = format!("/people/{}", people[chosen].0);
                let renamed = shared.send(random.next(), Method::PUT, &path, Some(json!({"name": name}))).await;
                renamed.map(|_| people[chosen].1 = name)
            }
            _ => match shared.send(random.next(), Method::POST, "/people", Some(json!({"name": name}))).await {
                Ok(added) => added["id"].as_str().context("no id").map(|id| people.push((id.to_owned(), name))),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = outcome {
            lock(&shared.failures).push(format!("{error:#}"));
        }
    }
    people.into_iter().collect()
}

/// Reads a person, from any instance, whose name is known.
async fn expect(shared: &Shared, random: &mut Random, id: &str, name: &str) -> Result<()> {
    let person = shared.send(random.next(), Method::GET, &format!("/people/{id}"), None).await?;
    ensure!(person["name"] == name, "{id} is {name}, and the answer was {person}");
    Ok(())
}

/// Chance that is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        // Knuth's MMIX generator; its upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() % limit
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
