//! Config epochs made without a vote.

use super::ClusterMachine;
use super::announce::Action;
use crate::interface::LogLevel;
use crate::messages::Header;
use crate::view::NodeKey;

impl ClusterMachine {
    /// Gives this node the greatest config epoch of all, without asking anybody (a slot was imported, or TAKEOVER):
    /// should two nodes do so at once, [`Self::resolve_epoch_collision`] parts them. Returns whether it was needed.
    pub(super) fn bump_config_epoch(&mut self) -> bool {
        let greatest = self.table.greatest_config_epoch().max(self.current_epoch);
        let mine = self.me().config_epoch;
        if mine != 0 && mine == greatest {
            return false;
        }
        self.raise_config_epoch();
        let epoch = self.me().config_epoch;
        self.log(LogLevel::Warning, format!("New configEpoch set to {epoch}"));
        true
    }

    /// Two primaries with one config epoch: the one with the smaller name takes a new one, so that in the end all
    /// differ, whatever happened.
    pub(super) fn resolve_epoch_collision(&mut self, sender: NodeKey, header: &Header) {
        let Some(node) = self.table.get(sender) else { return };
        let me = self.me();
        if header.config_epoch != me.config_epoch
            || node.config_epoch != me.config_epoch
            || !node.is_primary()
            || !me.is_primary()
            || node.id <= me.id
        {
            return;
        }
        let id = node.id;
        self.raise_config_epoch();
        let epoch = self.me().config_epoch;
        let text =
            format!("WARNING: configEpoch collision with node {}. configEpoch set to {epoch}", id.as_str());
        self.log(LogLevel::Verbose, text);
    }

    fn raise_config_epoch(&mut self) {
        self.current_epoch += 1;
        self.me_mut().config_epoch = self.current_epoch;
        self.changed();
    }

    /// Tells everybody about a change of this node, as soon as it is safe.
    pub(super) fn announce(&mut self) {
        self.when_safe(Action::BroadcastPong { only_shard: false });
    }
}
