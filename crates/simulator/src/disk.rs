//! The disk under one node: what was synced survives a crash, what was being written may or may not.

use crate::scenario::Sabotage;
use shoal_cluster::nodes_conf::NodesConf;
use shoal_machine::Rng;
use std::sync::Arc;

/// nodes.conf of one node.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    synced: Option<Arc<NodesConf>>,
    writing: Option<(u64, Arc<NodesConf>)>,
    /// What was synced before the last vote; for [`Sabotage::DoubleVote`].
    before_vote: Option<Arc<NodesConf>>,
}

impl Disk {
    pub(crate) fn holding(contents: Option<NodesConf>) -> Self {
        Self { synced: contents.map(Arc::new), ..Self::default() }
    }

    pub(crate) fn write(&mut self, ticket: u64, contents: Arc<NodesConf>) {
        self.writing = Some((ticket, contents));
    }

    /// The write is done; true if it is the one that was under way.
    pub(crate) fn finish(&mut self, ticket: u64) -> bool {
        match self.writing.take_if(|(writing, _)| *writing == ticket) {
            None => false,
            Some((_, contents)) => {
                self.keep(contents);
                true
            }
        }
    }

    /// The node crashes: a write under way reached the disk or did not.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        if let Some((_, contents)) = self.writing.take()
            && rng.chance(1, 2)
        {
            self.keep(contents);
        }
    }

    fn keep(&mut self, contents: Arc<NodesConf>) {
        let voted = |conf: &NodesConf| conf.last_vote_epoch;
        if let Some(old) = &self.synced
            && voted(old) < voted(&contents)
        {
            self.before_vote = Some(old.clone());
        }
        self.synced = Some(contents);
    }

    /// The file's text after a crash, if there is a file.
    pub(crate) fn text(&self, sabotage: Option<Sabotage>) -> Option<String> {
        match (sabotage, &self.before_vote) {
            // The deliberate bug: the last vote never reached the disk, although the machine was told so.
            (Some(Sabotage::DoubleVote), Some(stale)) => Some(stale.to_string()),
            _ => self.synced.as_ref().map(|conf| conf.to_string()),
        }
    }
}
