//! Taking jobs from the queue, as many as there is room for.

use std::sync::Arc;

use covet_data::Result;
use tokio::sync::mpsc::UnboundedSender;

use super::Shared;
use super::execute::Ended;
use crate::store::{self, Claimed};

/// What is left in the queue, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that is due and that there is room for.
    Nothing,
    /// As many were there as were asked for.
    MaybeMore,
}

impl Shared {
    pub(super) async fn take(self: &Arc<Self>, ended: &UnboundedSender<Ended>) -> Result<Found> {
        let mut found = Found::Nothing;
        for (names, most) in self.room() {
            let asked = most.min(self.settings.at_once.saturating_sub(self.running().len()));
            if asked == 0 {
                found = Found::MaybeMore;
                continue;
            }
            let claimed = self.claim(&names, asked).await?;
            if claimed.len() == asked {
                found = Found::MaybeMore;
            }
            for job in claimed {
                self.execute(job, ended.clone());
            }
        }
        Ok(found)
    }

    async fn claim(&self, names: &[&'static str], most: usize) -> Result<Vec<Claimed>> {
        let queue = self.jobs.shared();
        store::claim(&queue.db, self.id, names, most, queue.clock.now(), self.settings.lease).await
    }

    /// Which jobs can be taken, and how many: those without a limit of their own together, and each that has one.
    fn room(&self) -> Vec<(Vec<&'static str>, usize)> {
        let running = self.running();
        let mut unlimited = Vec::new();
        let mut room = Vec::new();
        for (name, known) in &self.by_name {
            match known.handler.options.at_once {
                None => unlimited.push(*name),
                Some(limit) => {
                    let at_work = running.values().filter(|running| running.name == *name).count();
                    room.push((vec![*name], limit.saturating_sub(at_work)));
                }
            }
        }
        room.retain(|(_, most)| *most > 0);
        if !unlimited.is_empty() {
            room.insert(0, (unlimited, usize::MAX));
        }
        room
    }
}
